"""The audit of a published table: one pure function a check, each giving its contradiction or what it lacks.

A check speaks once, about all rows that it concerns, with its arithmetic in words. The memoriser's floor is handed in
as a value, for this room imports no torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

from bakeoff.protocol.audit.claims import check_claims
from bakeoff.protocol.audit.contradiction import Checked, Contradiction, Skipped, known, lacking
from bakeoff.protocol.audit.parameters import block_params
from bakeoff.protocol.audit.published import Row, Table, evidence
from bakeoff.protocol.rule import decide
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.sections.tasks import TRAIN_IMAGES
from bakeoff.protocol.verdict import Verdict

KNOWN_LOSS = "velocity_mse_mean_over_pixels_uniform_t"
NEAR_FLOOR = 1.10  # a loss at or under this many floors is a finding
EXPLAINED = (0.95, 2.0)  # wall-clock over steps x step time: rounding below; data, optimiser and sampling above
UNSTATED = 0.5  # what embedding, conditioning and head may add to the blocks where the table does not say
ROUNDING = 1e-9


@dataclass(frozen=True)
class LossFloor:
    """The memoriser's floor of the table's data, and in words where it is from."""

    value: float
    source: str


@dataclass(frozen=True)
class FloorBasis:
    """What the floor of a table depends on: MNIST's first images, in this range."""

    pixel_range: tuple[float, float]
    train_images: int


@dataclass(frozen=True)
class Audit:
    """All contradictions, what could not be checked and why, and the rule's verdict on the figures as printed."""

    findings: list[Contradiction]
    skipped: list[Skipped]
    floor: LossFloor | None
    verdict: Verdict | None


def floor_basis(table: Table) -> FloorBasis | str:
    """What the floor is to be computed from, or, in words, why it cannot be."""
    keys = ("dataset", "loss", "pixel_range", "train_images")
    (dataset, loss, pixel_range, train_images), absent = known("setup", table.setup, *keys)
    if absent:
        return f"{lacking(absent)} (or state setup.loss_floor)"
    if dataset != "mnist":
        return f'the floor of data set "{dataset}" is not known; known is mnist, or state setup.loss_floor'
    if loss != KNOWN_LOSS:
        return f'the floor of loss "{loss}" is not known; known is {KNOWN_LOSS}, or state setup.loss_floor'
    if train_images > TRAIN_IMAGES:
        return f"setup.train_images = {train_images:,}, but MNIST has {TRAIN_IMAGES:,}"
    return FloorBasis(pixel_range, train_images)


def audit(table: Table, computed_floor: LossFloor | None = None) -> Audit:
    """Every check on a table. A floor that the table states goes before the one that was computed."""
    stated = table.setup.loss_floor
    floor = computed_floor if stated is None else LossFloor(stated, "as the table states it")
    verdict = verdict_as_printed(table)
    results = [result for check in CHECKS for result in check(table)]
    results += check_loss_floor(table, floor) + check_verdict(table, verdict)
    findings = [result for result in results if isinstance(result, Contradiction)]
    return Audit(findings, [result for result in results if isinstance(result, Skipped)], floor, verdict)


def verdict_as_printed(table: Table) -> Verdict | None:
    """The rule on the printed figures, as those of one seed; None if samples or losses are missing."""
    if any(row.samples is None or row.final_loss is None for row in table.backbone):
        return None
    setup = table.setup
    rule = Rule(evidence="point", quality_margin=setup.loss_margin, cost_margin=setup.speed_margin)
    return decide(rule, list(evidence(table).values()), {row.name: (0,) for row in table.backbone})


def check_tokens(table: Table) -> list[Checked]:
    """Image and patch against tokens."""
    (image, patch, tokens), absent = known("setup", table.setup, "image_size", "patch_size", "tokens")
    if absent:
        return [Skipped("tokens", "setup", lacking(absent))]
    side, rest = divmod(image, patch)
    if not rest and side * side == tokens:
        return []
    cut = f"{image}x{image} pixels in {patch}x{patch} patches are {side} x {side} = {side * side} tokens"
    if rest:
        cut = f"{image}x{image} pixels cannot be cut into {patch}x{patch} patches, {image} / {patch} leaves {rest}"
    fitting, rest = divmod(image, isqrt(tokens))
    square = isqrt(tokens) ** 2 == tokens and not rest
    remedy = f"; {tokens} tokens are patches of {fitting}x{fitting}" if square else ""
    return [Contradiction("tokens", "setup", f"{cut}, but the table says {tokens}{remedy}.")]


def check_wall_clock(table: Table) -> list[Checked]:
    """Step time x steps against wall-clock."""
    steps = table.steps
    if steps is None:
        _, absent = known("setup", table.setup, "epochs", "train_images", "batch_size")
        return [Skipped("wall_clock", "setup", f"{lacking(absent)} (or setup.steps)")]
    rows, skipped = _figures("wall_clock", table, "step_ms", "wall_min")
    wrong, factors = [], []
    for row, (step_ms, wall_min) in rows:
        minutes = steps * step_ms / 60_000
        factor = wall_min / minutes
        if not EXPLAINED[0] <= factor <= EXPLAINED[1]:
            steps_times = f"{row.name}: {steps:,} steps x {step_ms:g} ms = {minutes:.3g} min"
            wrong.append((row, f"{steps_times}, printed {wall_min:g} min ({factor:.3g} times)"))
            factors.append(factor)
    setup, end = table.setup, "One of the two columns is wrong."
    if len(wrong) > 1 and max(factors) < 1.1 * min(factors):
        mean = sum(factors) / len(factors)
        end = f"The same factor of {mean:.2g} separates the two columns in these rows: one of them is wrong."
    if setup.steps is None:
        length = f"{setup.epochs} epochs of {setup.train_images:,} / {setup.batch_size}, rounded up"
        end = f"{steps:,} steps are {length}. {end}"
    return [*_finding("wall_clock", wrong, end), *skipped]


def check_parameters(table: Table) -> list[Checked]:
    """Blocks against parameters."""
    rows, skipped = _figures("parameters", table, "params")
    tolerance = table.setup.match_tolerance or 0.10
    wrong, counts = [], []
    for row, (printed,) in rows:
        blocks = block_params(table.setup, row)
        if isinstance(blocks, str):
            skipped.append(Skipped("parameters", _where(row), blocks))
            continue
        counts.append(blocks)
        least = blocks + (row.other_params or 0)
        most = blocks * (1 + UNSTATED) if row.other_params is None else least
        if not (1 - tolerance) * least <= printed <= (1 + tolerance) * most:
            layers = " + ".join(f"{block.repeats} {block.mixer}" for block in row.arrangement)
            rest = f", with {_count(row.other_params)} outside them {_count(least)}" if row.other_params else ""
            wrong.append(
                (row, f"{row.name}: the blocks {layers} have {_count(blocks)}{rest}, printed {_count(printed)}")
            )
    end = f"Allowed is {100 * tolerance:g} %, and half of the blocks for what lies outside them and is not stated."
    if counts and max(counts) > (1 + tolerance) * min(counts):
        end += f" By their blocks the backbones are not matched either: {max(counts) / min(counts):.2f} times apart."
    return [*_finding("parameters", wrong, end), *skipped]


def check_match(table: Table) -> list[Checked]:
    """Printed parameter counts within the table's own tolerance."""
    (tolerance,), absent = known("setup", table.setup, "match_tolerance")
    if absent:
        return [Skipped("match", "setup", lacking(absent))]
    rows, skipped = _figures("match", table, "params")
    if len(rows) < 2:
        return skipped
    (least, (fewest,)), *_, (most, (largest,)) = sorted(rows, key=lambda row: row[1])
    if largest <= (1 + tolerance) * fewest * (1 + ROUNDING):
        return skipped
    counts = f"{most.name} has {_count(largest)} parameters, {least.name} {_count(fewest)}"
    message = f"{counts}: {largest / fewest:.3f} times as many. The table's own tolerance is {1 + tolerance:g}."
    return [Contradiction("match", f"{_where(most)}, {_where(least)}", message), *skipped]


def check_peak(table: Table) -> list[Checked]:
    """FLOPs per step against the card's peak: 6 for every parameter and token, before any scan or attention."""
    (tokens, batch, peak), absent = known("setup", table.setup, "tokens", "batch_size", "device_peak_tflops")
    if absent:
        return [Skipped("peak", "setup", lacking(absent))]
    rows, skipped = _figures("peak", table, "params", "step_ms")
    wrong = []
    for row, (params, step_ms) in rows:
        tflop = 6e-12 * params * batch * tokens
        rate = 1000 * tflop / step_ms
        if rate > peak:
            work = f"{row.name}: 6 x {_count(params)} parameters x {batch * tokens:,} tokens = {tflop:.3g} TFLOP a step"
            wrong.append((row, f"{work}, in {step_ms:g} ms that is {rate:.3g} TFLOP/s"))
    device = table.setup.device or "the device"
    end = f"The highest that {device} can do is {peak:g} TFLOP/s, and scan and attention come on top of this work."
    return [*_finding("peak", wrong, end), *skipped]


def check_loss_floor(table: Table, floor: LossFloor | None) -> list[Checked]:
    """Final losses against what a perfect memoriser of the training set would reach."""
    if floor is None:
        basis = floor_basis(table)
        return [Skipped("loss_floor", "setup", basis if isinstance(basis, str) else "the floor was not computed")]
    rows, skipped = _figures("loss_floor", table, "final_loss")
    wrong, others = [], []
    for row, (loss,) in rows:
        times = f"{row.name}'s {loss:g} is {loss / floor.value:.3f} times the floor" if floor.value else ""
        if loss <= NEAR_FLOOR * floor.value:
            wrong.append((row, times))
        else:
            others.append(times)
    end = (
        f"The floor, {floor.value:.4f} ({floor.source}), is the loss of a perfect memoriser of the training set: no "
        f"model can be below it, and a loss of {NEAR_FLOOR:g} floors or less is hardly the one that is described."
    )
    if others:
        end += f" The others: {', '.join(others)}."
    return [*_finding("loss_floor", wrong, end), *skipped]


def check_verdict(table: Table, verdict: Verdict | None) -> list[Checked]:
    """The printed verdict against the rule's on the printed figures."""
    if verdict is None:
        absent = [key for row in table.backbone for key in known(_where(row), row, "samples", "final_loss")[1]]
        return [Skipped("verdict", "backbone", f"no verdict can be given: {lacking(absent)}")]
    if table.verdict is None:
        return [Skipped("verdict", "verdict", lacking(["verdict"]))]
    printed, wrong = table.verdict, []
    if printed.winner != verdict.winner:
        wrong.append(f"the winner is {verdict.winner or 'nobody'}, printed {printed.winner or 'nobody'}")
    out = [name for name, result in verdict.backbones.items() if result.outcome == "eliminated"]
    if set(out) != set(printed.eliminated):
        wrong.append(f"eliminated is {', '.join(out) or 'nobody'}, printed {', '.join(printed.eliminated) or 'nobody'}")
    if not wrong:
        return []
    return [Contradiction("verdict", "verdict", f"By the rule on the printed figures {'; '.join(wrong)}.")]


CHECKS: Sequence[Callable[[Table], list[Checked]]] = (
    check_tokens,
    check_wall_clock,
    check_parameters,
    check_match,
    check_peak,
    check_claims,
)


def _figures(check: str, table: Table, *keys: str) -> tuple[list[tuple[Row, list[Any]]], list[Checked]]:
    """The rows that have all the figures, with them, and for the other rows what they lack."""
    complete: list[tuple[Row, list[Any]]] = []
    skipped: list[Checked] = []
    for row in table.backbone:
        values, absent = known(_where(row), row, *keys)
        if absent:
            skipped.append(Skipped(check, _where(row), lacking(absent)))
        else:
            complete.append((row, values))
    return complete, skipped


def _finding(check: str, wrong: Sequence[tuple[Row, str]], end: str) -> list[Contradiction]:
    """One finding about all the wrong rows; none if there are none."""
    if not wrong:
        return []
    where = ", ".join(_where(row) for row, _ in wrong)
    return [Contradiction(check, where, f"{'; '.join(text for _, text in wrong)}. {end}")]


def _where(row: Row) -> str:
    return f"backbone.{row.name}"


def _count(params: float) -> str:
    return f"{params / 1e6:.3g} M" if 1e5 <= params < 1e12 else f"{params:,.0f}"
