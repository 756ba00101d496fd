"""The audit's check of claims: what is said to follow from one point, one seed or one learning rate."""

from bakeoff.protocol.audit.contradiction import Checked, Contradiction, Skipped, lacking
from bakeoff.protocol.audit.published import Claim, Table


def check_claims(table: Table) -> list[Checked]:
    """Claims that were measured at one point, with one seed, or at one learning rate."""
    if not table.claim:
        return [Skipped("claims", "claim", lacking(["claim"]))]
    found: list[tuple[str, str]] = []
    skipped: list[Checked] = []
    for number, claim in enumerate(table.claim):
        where, grounds = f"claim.{number}", []
        for reading in (_points(table, claim), _seeds(table, claim), _rates(claim)):
            if isinstance(reading, Skipped):
                skipped.append(Skipped("claims", where, reading.reason))
            elif reading:
                grounds.append(reading)
        if grounds:
            found.append((where, f'"{claim.text}" rests on {" and ".join(grounds)}.{_ties(table, claim)}'))
    if not found:
        return skipped
    told = " ".join(text for _, text in found)
    message = f"{told} A trend needs two points, and a difference two seeds."
    return [Contradiction("claims", ", ".join(where for where, _ in found), message), *skipped]


def _points(table: Table, claim: Claim) -> str | Skipped:
    """One point where something is said to change with it; empty if there are more."""
    if claim.varies is None:
        return Skipped("claims", "", lacking(["varies"]))
    points = claim.measured_at
    if points is None and claim.varies == "backbone":
        points = tuple(row.name for row in table.backbone)
    if points is None:
        return Skipped("claims", "", lacking(["measured_at"]))
    if len(set(points)) > 1:
        return ""
    reach = f"; carried over to {_listed(claim.extrapolated_to)}" if claim.extrapolated_to else ""
    return f"one value of {claim.varies} ({_listed(points) or 'none given'}{reach})"


def _seeds(table: Table, claim: Claim) -> str | Skipped:
    known = [claim.seeds] if claim.seeds is not None else [table.setup.seeds, *(row.seeds for row in table.backbone)]
    counts = [count for count in known if count is not None]
    if not counts:
        return Skipped("claims", "", lacking(["seeds"]))
    return "one seed" if min(counts) == 1 else ""


def _rates(claim: Claim) -> str:
    if claim.learning_rates is None or len(set(claim.learning_rates)) > 1:
        return ""
    return f"one learning rate ({_listed(claim.learning_rates) or 'none given'})"


def _ties(table: Table, claim: Claim) -> str:
    """Where backbones are told apart although the table's own margin calls their losses equivalent."""
    margin, told = table.setup.loss_margin, ""
    clean = [row for row in table.backbone if row.samples == "clean" and row.final_loss is not None]
    if claim.varies != "backbone" or not clean:
        return told
    last = max(clean, key=lambda row: row.final_loss or 0)
    for row in table.backbone:
        above = (row.final_loss or 0) / (last.final_loss or 1) - 1
        if row.samples == "noise" and row.final_loss is not None and above <= margin:
            told += (
                f" The loss of {row.name}, {row.final_loss:g}, is {100 * above:.1f} % above {last.name}'s "
                f"{last.final_loss:g}; the table calls up to {100 * margin:g} % equivalent."
            )
    return told


def _listed(values: tuple[float | str, ...]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, int | float) else value for value in values)
