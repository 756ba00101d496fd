"""Tables for the terminal: plans, verdicts, seals and calibrations."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bakeoff.protocol.figures import COSTS
from bakeoff.protocol.sections.sweep import DIVERGED
from bakeoff.protocol.sweep import Swept
from bakeoff.protocol.verdict import Step, Verdict, criteria_table, headline

if TYPE_CHECKING:
    from pathlib import Path

    from bakeoff.models.contract import ContractCheck
    from bakeoff.protocol.lint import LintFinding
    from bakeoff.protocol.measurement import Evidence
    from bakeoff.protocol.seal import Seal
    from bakeoff.rundir.verify import Verification
    from bakeoff.tasks.calibration import Calibration
    from bakeoff.trial.plan import Plan


def show_plan(console: Console, plan: "Plan", estimated: Mapping[str, Any] | None) -> None:
    """Shows matched widths beside the literature's, counts, costs, trials and the estimate."""
    protocol = plan.protocol
    console.print(f"[bold]{escape(protocol.name)}[/]  {escape(protocol.description)}")
    console.print(f"digest {protocol.digest()}")
    per_epoch = "" if protocol.steps_per_epoch is None else f" ({protocol.steps_per_epoch} an epoch)"
    console.print(
        f"{plan.tokens} tokens{_codec(plan)}; {protocol.total_steps} steps of {protocol.training.batch} items"
        f"{per_epoch}; seeds {', '.join(map(str, protocol.seeds))}\n"
    )
    table = Table(title=f"Matched to {protocol.budget.params:,} parameters", title_justify="left")
    for column, justify in (
        ("backbone", "left"),
        ("layers", "left"),
        ("width at printed size", "right"),
        ("parameters", "right"),
        ("matched width", "right"),
        ("parameters", "right"),
        ("MFLOP a sample", "right"),
        ("state, KiB", "right"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    groups = protocol.groups()
    for one in plan.backbones:
        own = f"; {groups[one.backbone.name]}" if len(set(groups.values())) > 1 else ""
        table.add_row(
            one.backbone.name,
            escape(one.backbone.arranged(_short) + own),
            _widths(one.nominal_widths),
            f"{one.nominal_params:,}",
            _widths(one.fit.widths),
            f"[bold]{one.fit.params:,}[/]",
            f"{one.flops_per_sample / 1e6:.1f}{'*' if 'flops' in one.measured else ''}",
            f"{one.state_bytes / 1024:.1f}{'*' if 'state_bytes' in one.measured else ''}",
        )
    console.print(table)
    if any(one.measured for one in plan.backbones):
        console.print("* not stated by a plug-in: counted by torch, or the size of all inputs for the state")
    counts = [one.fit.params for one in plan.backbones]
    console.print(f"largest over smallest: {max(counts) / min(counts):.3f} (allowed {protocol.budget.tolerance:g})")
    if estimated:
        console.print()
        show_estimate(console, estimated)
        for name, figures in estimated["backbones"].items():
            console.print(
                f"  {name}: {figures['step_time_ms']:g} ms a step, {duration(figures['trial_s'])} a trial, "
                f"{figures['memory_mib']:,} MiB"
            )


def show_estimate(console: Console, estimated: Mapping[str, Any], jobs: int = 1) -> None:
    at_once = f", {jobs} at once" if jobs > 1 else ""
    console.print(
        f"estimate on this CPU ({estimated['threads']} threads): {duration(estimated['total_s'] / jobs)} for "
        f"{estimated['trials']} trials{at_once}, {jobs * estimated['peak_memory_mib']:,} MiB at most"
    )


def show_lint(console: Console, findings: "Sequence[LintFinding]") -> None:
    """Shows one line for each finding; those that are not "ok" stand out."""
    console.print()
    for one in findings:
        mark = one.level if one.level == "ok" else f"[bold]{one.level}[/]"
        console.print(f"{mark}: {one.check}: {escape(one.message)}")


def show_seal(console: Console, path: "Path", seal: "Seal", ledger: str | None) -> None:
    console.print(f"Sealed {escape(seal.protocol['name'])} in {escape(str(path))} at {seal.created}, by {seal.code}")
    console.print(f"  protocol  {seal.digest}")
    for name, sha256 in seal.inputs.items():
        console.print(f"  {name}  {sha256}")
    console.print(f"  ledger    {ledger}")
    show_warnings(console, seal)


def show_warnings(console: Console, seal: "Seal") -> None:
    """Shows the warnings of the sealed lint about the plan."""
    for one in seal.plan.get("lint", []):
        if one["level"] != "ok":
            console.print(f"{one['level']}: {one['check']}: {one['message']}", markup=False)


def show_verification(console: Console, path: "Path", found: "Verification") -> None:
    for name, problem in found.changed.items():
        console.print(f"changed: {name}: {problem}", markup=False, soft_wrap=True)
    for note in found.notes:
        console.print(f"note: {note}", markup=False)
    if found.missing:
        console.print(f"not there yet: {', '.join(found.missing)}", markup=False)
    console.print(f"{path}: {found.outcome}; {found.files} files recorded", style="bold", markup=False)
    console.print(f"digest of the run: {found.digest}")


def show_verdict(console: Console, verdict: Verdict) -> None:
    """Shows the outcome, the table criterion x backbone, the figures of every seed, and the rule line by line."""
    table = Table(title="Criteria", title_justify="left", show_lines=True)
    table.add_column("criterion")
    for name in verdict.backbones:
        table.add_column(name)
    for criterion, row in criteria_table(verdict).items():
        table.add_row(criterion, *(escape(text) for text in row.values()))
    console.print(table)
    if verdict.sweep is not None:
        show_sweep(console, verdict.sweep)
    console.print(_seed_table(verdict))
    console.print(_step_table(verdict.steps))
    for note in verdict.notes:
        console.print(f"note: {escape(note)}")
    for change in verdict.deviations:
        console.print(f"deviation: {change}", markup=False)
    if verdict.missing:
        console.print(f"missing: {', '.join(verdict.missing)}")
    show_headline(console, verdict)
    if verdict.so_far is not None:
        console.print(f"so far: {headline(verdict.so_far)}", markup=False)


def show_headline(console: Console, verdict: Verdict) -> None:
    console.print(f"Verdict: {headline(verdict)}", style="bold", markup=False)


def show_sweep(console: Console, found: Swept) -> None:
    """Shows the held-out loss of every backbone at every value, and what it keeps."""
    whose = "" if found.run is None else f", by an earlier run ({found.run[:12]})"
    console.print(f"[italic]Sweep of {found.key}: held-out loss on {found.on_seeds}{whose}[/]")
    table = Table("backbone")
    for column in (*(f"{value:g}" for value in found.values), "kept", "diverged"):
        table.add_column(column, justify="right")
    for name, one in found.choices.items():
        diverged = f"{one.losses.count(DIVERGED)} of {len(one.losses)}"
        table.add_row(name, *map(show_value, one.losses), f"[bold]{one.value:g}[/]", diverged)
    console.print(table)


def _seed_table(verdict: Verdict) -> Table:
    """The table of seeds: every check of the bar, every other figure, and the costs that differ between seeds."""
    table = Table(title="Every seed", title_justify="left")
    seeds = [seed for result in verdict.backbones.values() for seed in result.seeds]
    checks = next((seed.checks for seed in seeds if seed.checks), ())
    checked = {check.name for check in checks}
    titles = {name: verdict.figures[name].label if name in verdict.figures else name for name in _names(seeds)}
    figures = {name: title for name, title in titles.items() if title not in checked}
    peak = COSTS["peak_memory_mib"]
    for column in ("trial", "bar", *(check.name for check in checks), *figures.values(), peak.label):
        table.add_column(column, justify="left" if column in ("trial", "bar") else "right")
    for seed in seeds:
        observed = [show_value(check.observed) for check in seed.checks] or ["-"] * len(checks)
        others = [show_value(seed.figures.get(name)) for name in figures]
        memory = show_value(seed.costs.get(peak.name))
        table.add_row(f"{seed.backbone}-s{seed.seed}", seed.standing, *observed, *others, memory)
    return table


def _names(seeds: "Sequence[Evidence]") -> list[str]:
    return list(dict.fromkeys(name for seed in seeds for name in seed.figures))


def _step_table(steps: list[Step]) -> Table:
    table = Table(title="The rule, line by line", title_justify="left")
    for column in ("criterion", "of", "observed", "threshold", "outcome", "would flip it"):
        table.add_column(column, justify="right" if column in ("observed", "threshold") else "left")
    for step in steps:
        if step.kind != "seed":  # the table of seeds shows those, and the JSON has all of them
            observed, threshold = show_value(step.observed), show_value(step.threshold)
            table.add_row(step.criterion, step.backbone, observed, threshold, step.outcome, step.flips)
    return table


def show_checks(console: Console, name: str, checks: "Sequence[ContractCheck]") -> None:
    table = Table("check", "result", "what was seen", title=escape(f"The contract of {name}"), title_justify="left")
    for check in checks:
        table.add_row(check.name, "holds" if check.passed else "[bold]FAILS[/]", escape(check.detail))
    console.print(table)


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def show_value(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.4g}"


def _widths(widths: Mapping[str, int]) -> str:
    return ", ".join(f"{_short(kind)} {width}" for kind, width in widths.items())


def _short(mixer: str) -> str:
    """A mixer's name; of a plug-in, the class without its module."""
    return mixer.rpartition(":")[2]


def _codec(plan: "Plan") -> str:
    """Describes a token, if a codec makes it."""
    codec = plan.protocol.codec
    if codec is None:
        return ""
    return f" of codec {codec.kind}"


def show_calibration(console: Console, found: "Calibration", samples: int) -> None:
    """Shows the figures of items of known kind, for sets of the size that the bar judges, or the nearest size."""
    size = min(found.samples, key=lambda count: abs(count - samples))
    names = list(dict.fromkeys(name for figures in found.samples[size].values() for name in figures))
    title = f"Median (lowest to highest) of {found.draws} sets of {size} items"
    table = Table(title=title, title_justify="left")
    table.add_column("items")
    for name in names:
        table.add_column(name, justify="right")
    for kind, figures in found.samples[size].items():
        cells = [f"{middle:.4g} ({low:.4g} to {high:.4g})" for low, middle, high in (figures[name] for name in names)]
        table.add_row(escape(kind), *cells)
    for baseline, values in found.baselines.items():
        table.add_row(escape(f"baseline: {baseline}"), *(show_value(values.get(name)) for name in names))
    console.print(table)
