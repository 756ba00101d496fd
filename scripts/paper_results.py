"""Write docs/results/mnist-paper.md from runs of the study at full size, beside its published figures.

    python scripts/paper_results.py runs/mnist-paper-adaln runs/mnist-paper [runs/paper-transformer-... ...]
        [--gpu gpu.json] [--published examples/published.toml] [--out docs/results]

A run that is not finished is a part and is marked as one. `--gpu` is what `python -m benchmarks.gpu --json` wrote.
Beside the page: mnist-paper.json with every measurement, and pictures of samples and curves.
"""

import argparse
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bakeoff.artefacts.base import read_items
from bakeoff.artefacts.sheets import png, side_by_side
from bakeoff.errors import BakeoffError
from bakeoff.protocol.audit.published import Row, Table, load_table
from bakeoff.protocol.measurement import Measurement, check_bar
from bakeoff.protocol.verdict import Result, figure, headline
from bakeoff.report.figures import loss_curves
from bakeoff.rundir.directory import read_seal
from bakeoff.rundir.verify import verify
from paper_runs import MACHINE, Run, open_runs, read_benchmark, write_results

ROOT = Path(__file__).parents[1]
CROSSOVER = "tokens from which Mamba is faster than attention, "
SAMPLES_SHOWN = 32
UNKNOWN = "-"


# ---- the page


def page(runs: list[Run], table: Table, benchmark: dict[str, Any] | None, pictures: Mapping[str, bytes]) -> str:
    parts = [
        "# The study at full size",
        "",
        "Written by `python scripts/paper_results.py` from the runs named here; every figure, of every seed, is in "
        "[mnist-paper.json](mnist-paper.json). How to make it again: [on a GPU](../gpu.md).",
    ]
    for run in runs:
        if len(run.run.protocol.backbones) > 1:
            parts += ["", *_of_run(run, table, pictures)]
    parts += ["", "## Does the Transformer give noise?", "", *_noise(runs, pictures)]
    parts += ["", "## From which token count is Mamba faster than attention?", "", *_crossover(benchmark)]
    return "\n".join(parts) + "\n"


def _of_run(run: Run, table: Table, pictures: Mapping[str, bytes]) -> Iterator[str]:
    protocol, found = run.run.protocol, verify(run.run.path)
    missing = [name for name in run.trials if name not in run.measured]
    yield from (f"## {run.name}", "", protocol.description, "")
    if run.verdict.outcome == "incomplete":
        parts = f"{len(run.measured)} of {len(run.trials)} trials are done"
        lacking = [*missing, *(name for name in run.verdict.missing if name not in missing)]
        yield from (f"**Partial: {parts}; missing are {', '.join(lacking)}.** What follows is of those alone.", "")
    if found.changed:
        yield from (f"**Changed since it was run: {', '.join(found.changed)}.**", "")
    yield from (_identity(run, found.digest), "")
    yield f"**Verdict: {headline(run.verdict)}**"
    if run.verdict.so_far is not None:
        yield f"So far: {headline(run.verdict.so_far)}"
    yield from ("", *_figures(run, table), "")
    if minutes := run.seed_minutes:
        yield f"One seed of all {len(protocol.backbones)} backbones, from start to judge: {figure(minutes)} min.\n"
    yield from _differences(run, table)
    for name in (f"mnist-paper-{run.name}.png", f"mnist-paper-{run.name}-loss.png"):
        if name in pictures:
            yield from ("", f"![{run.name}]({name})")


def _identity(run: Run, digest: str | None) -> str:
    machine = ", ".join(f"{key} {value}" for key in MACHINE if (value := run.environment.get(key)))
    return f"Sealed {read_seal(run.run.path).created}; {machine}. Digest of the run: `{digest or UNKNOWN}`."


def _figures(run: Run, table: Table) -> Iterator[str]:
    """Ours beside the published ones; means over seeds, as the rule reads them."""
    published = {row.name: row for row in table.backbone}
    names = [backbone.name for backbone in run.run.protocol.backbones]
    yield "| " + " | ".join(["", *(f"{name}: published | ours" for name in names)]) + " |"
    yield "|---" * (1 + 2 * len(names)) + "|"
    rows: list[tuple[str, list[str]]] = [(label, []) for label in LABELS]
    for name in names:
        theirs, ours = published.get(name), _ours(run, name)
        for (label, cells), value in zip(rows, ours, strict=True):
            cells += [_theirs(theirs, label), value]
    for label, cells in rows:
        yield "| " + " | ".join([label, *cells]) + " |"


LABELS = (
    "samples",
    "recognised / digits / Frechet distance",
    "loss, last epoch",
    "loss over the memoriser's floor",
    "step, ms",
    "sampling of the grid, ms",
    "peak memory, GB",
    "wall-clock of a trial, min",
    "parameters, M",
)


def _theirs(row: Row | None, label: str) -> str:
    if row is None:
        return UNKNOWN
    values = {
        "samples": row.samples,
        "loss, last epoch": row.final_loss,
        "step, ms": row.step_ms,
        "peak memory, GB": row.peak_memory_gb,
        "wall-clock of a trial, min": row.wall_min,
        "parameters, M": row.params and row.params / 1e6,
    }
    return UNKNOWN if (value := values.get(label)) is None else figure(value)


def _ours(run: Run, name: str) -> list[str]:
    """In the order of LABELS."""
    seeds = [one for one in run.measured.values() if one.backbone == name]
    result: Result | None = run.shown.backbones.get(name)
    if not seeds or result is None:
        return ["not run", *[UNKNOWN] * (len(LABELS) - 1)]
    judged = [quality for one in seeds if (quality := one.quality) is not None]
    floor, count = run.verdict.loss_floor, len(judged)
    quality = UNKNOWN
    if judged:
        recognised, digits, frechet = (
            sum(one.figures[key] for one in judged) / count for key in ("recognised", "classes", "frechet")
        )
        quality = f"{recognised:.2f} / {digits:.3g} / {frechet:,.0f}"
    return [
        f"{result.seeds_passed} of {len(seeds)} seeds pass the bar",
        quality,
        _or_unknown(result.loss),
        _or_unknown(result.loss and floor and result.loss / floor),
        _or_unknown(result.costs.get("step_time_ms")),
        _or_unknown(run.sampling_ms.get(name)),
        _or_unknown((memory := result.costs.get("peak_memory_mib")) and memory * 2**20 / 1e9),
        figure(sum(one.wall_s for one in seeds) / len(seeds) / 60),
        figure(seeds[0].params / 1e6),
    ]


def _or_unknown(value: float | None) -> str:
    return UNKNOWN if value is None else figure(value)


def _differences(run: Run, table: Table) -> Iterator[str]:
    """The published figures and these, by backbone; then what else is not the same."""
    yield "What differs:\n"
    for row in table.backbone:
        ours = run.shown.backbones.get(row.name)
        if ours is None or ours.loss is None:
            continue
        said = [f"loss {figure(ours.loss)} against {row.final_loss}" if row.final_loss else ""]
        if row.step_ms and (step_ms := ours.costs.get("step_time_ms")):
            said.append(f"a step takes {figure(step_ms / row.step_ms)} of the time")
        if row.samples:
            seeds = [one for one in run.measured.values() if one.backbone == row.name]
            said.append(f"samples {row.samples} there, {ours.seeds_passed} of {len(seeds)} seeds pass the bar here")
        yield f"- {row.name}: {'; '.join(part for part in said if part)}."
    printed, protocol = table.verdict, run.run.protocol
    if printed is not None:
        won = run.shown.winner or "nobody"
        yield f"- Verdict: {printed.winner} won there, {won} here{' (indicative)' if run.shown.indicative else ''}."
    if (floor := run.verdict.loss_floor) and protocol.codec is not None and protocol.codec.kind == "pixel":
        ratios = ", ".join(f"{row.name} {figure(row.final_loss / floor)}" for row in table.backbone if row.final_loss)
        yield f"- A perfect memoriser of these images has the loss {figure(floor)}; published, times that: {ratios}."
    yield f"- The card: {table.setup.device or 'not named'} there, {run.environment.get('device', 'unknown')} here."
    yield (
        f"- Seeds: {table.setup.seeds or 'not told'} there, {len(protocol.seeds)} here. Quality: by eye there, by the "
        "judge here. Conditioning: time in the head there, "
        f"{'the same' if protocol.model.conditioning == 'head' else 'adaLN-zero in every branch'} here."
    )
    yield "- More of this kind, and what the printed table contradicts in itself: [the study](../study.md)."


def _noise(runs: list[Run], pictures: Mapping[str, bytes]) -> Iterator[str]:
    yield "| run | positions | conditioning | lr | recognised | digits | Frechet distance | loss | the bar |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for run, one in _transformers(runs):
        protocol, quality = run.run.protocol, one.quality
        model, lr = protocol.model, protocol.training.lr
        cells = [f"{run.name}, seed {one.seed}", model.positions, model.conditioning, f"{lr:g}"]
        if quality is None:
            cells += [UNKNOWN] * 4 + [f"diverged at step {one.diverged_at_step}"]
        else:
            passed = all(check.passed for check in check_bar(protocol.bar, quality, run.run.figures))
            found = quality.figures
            cells += [f"{found['recognised']:.2f}", f"{found['classes']:g}", f"{found['frechet']:,.0f}"]
            cells += [_or_unknown(one.loss), "passes" if passed else "fails"]
        yield "| " + " | ".join(cells) + " |"
    yield ""
    for run in runs:
        if len(run.run.protocol.backbones) == 1:
            yield f"- {run.name}: {_identity(run, verify(run.run.path).digest)}"
    yield "\nReal digits and noise at the same judge: [the README](../../README.md#the-judge)."
    if NOISE in pictures:
        yield f"\n![What the Transformer draws]({NOISE})"


NOISE = "mnist-paper-transformer.png"


def _transformers(runs: list[Run]) -> Iterator[tuple[Run, Measurement]]:
    yield from ((run, one) for run in runs for one in run.measured.values() if one.backbone == "transformer")


def _crossover(benchmark: dict[str, Any] | None) -> Iterator[str]:
    if benchmark is None:
        yield "Not measured: there is no output of `python -m benchmarks.gpu` beside these runs."
        return
    machine = benchmark["machine"]
    yield f"{machine['device']}, {machine['date']}, blocks of one width at constant tokens in bfloat16:\n"
    answers = [row for row in benchmark["rows"] if row["name"].startswith(CROSSOVER)]
    for row in answers:
        what = row["name"].removeprefix(CROSSOVER)
        answer = f"from {row['value']:g} tokens on" if row["value"] else "at no count that was measured"
        yield f"- {what}: {answer} ({row['detail']})"
    if not answers:
        yield "Not measured: the benchmark's output has no section `blocks` that was finished."


# ---- pictures


def pictures(runs: list[Run]) -> dict[str, bytes]:
    """By file name: samples and curves of every run with rivals, and what each Transformer drew."""
    found = {}
    for run in runs:
        names = [backbone.name for backbone in run.run.protocol.backbones]
        if len(names) < 2 or not run.measured:
            continue
        first = [name for seed in run.run.protocol.seeds[:1] for one in names if (name := f"{one}-s{seed}")]
        if grids := [(name, _grid(run, name)) for name in first if _sampled(run, name)]:
            found[f"mnist-paper-{run.name}.png"] = png(side_by_side(grids))
        curves = {
            name: [run.losses(trial) for trial, one in run.measured.items() if one.backbone == name] for name in names
        }
        buffer = io.BytesIO()
        drawn = loss_curves(curves, run.run.protocol.steps_per_epoch)
        drawn.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
        found[f"mnist-paper-{run.name}-loss.png"] = buffer.getvalue()
    trials = [(run, f"{one.backbone}-s{one.seed}") for run, one in _transformers(runs)]
    if grids := [(run.name, _grid(run, name)) for run, name in trials if _sampled(run, name)]:
        found[NOISE] = png(side_by_side(grids))
    return found


def _sampled(run: Run, name: str) -> bool:
    return name in run.measured and run.measured[name].quality is not None


def _grid(run: Run, name: str) -> Any:
    kind, protocol = run.run.kind, run.run.protocol
    samples = read_items(run.run.path / "trials" / name / "samples.npz", kind, protocol.samples_drawn)
    return kind.sheet(samples.take(0, min(SAMPLES_SHOWN, protocol.sampling.count)))


def main() -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    parser.add_argument("--gpu", type=Path, help="the GPU benchmark's JSON")
    parser.add_argument("--published", default=str(ROOT / "examples/published.toml"), help="the published table")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results", help="folder to write to")
    options = parser.parse_args()
    try:
        runs = open_runs(options.runs)
        benchmark = None if options.gpu is None else read_benchmark(options.gpu)
        drawn = pictures(runs)
        text = page(runs, load_table(options.published), benchmark, drawn)
        document = {"runs": [run.document() for run in runs], "benchmark": benchmark}
        print(write_results(options.out, "mnist-paper", text, document, drawn))
    except (BakeoffError, OSError) as error:
        print(f"paper_results: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
