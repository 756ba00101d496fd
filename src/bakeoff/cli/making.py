"""Commands that make a run: plan, calibrate, seal, run."""

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from bakeoff.cli.base import (
    CHANGED,
    FAILED,
    DataOption,
    DeviceOption,
    JsonOption,
    PluginsOption,
    ProtocolArgument,
    SetOption,
    ThreadsOption,
    app,
    device_of,
    new_console,
    permit,
    print_json,
)
from bakeoff.errors import BakeoffError, printable


@app.command()
def plan(
    protocol: ProtocolArgument,
    set_: SetOption = [],  # noqa: B006
    allow_plugins: PluginsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show matched widths, costs and time.

    Counts are those of the instantiated models; nothing is trained.
    """
    from bakeoff.protocol.presets import load_protocol

    resolved = load_protocol(protocol, set_)
    permit(allow_plugins)
    from bakeoff.execute.estimate import estimate
    from bakeoff.trial.plan import lint_plan, make_plan, plan_json, refuse_errors

    planned = make_plan(resolved)
    estimated, findings = estimate(planned), lint_plan(planned)
    if as_json:
        print_json(plan_json(planned, estimated))
    else:
        from bakeoff.cli.terminal import show_lint, show_plan

        show_plan(new_console(), planned, estimated)
        show_lint(new_console(), findings)
    refuse_errors(findings)


@app.command()
def data(
    kind: Annotated[str, typer.Argument(help="Of the task: cifar10 or fashion.")],
    given: Annotated[Path, typer.Argument(help="Folder or archive with its files.", metavar="FOLDER")],
) -> None:
    """Give a data set that may not be shipped, once: its files are read, checked and kept in the cache folder.

    cifar10: cifar-10-binary.tar.gz, cifar-10-python.tar.gz, or a folder that either was unpacked in. fashion: the
    folder with the four IDX files. Nothing is downloaded.
    """
    from bakeoff.tasks import take_data

    typer.echo(f"{kind}: read and kept; SHA-256 of labels and pixels {take_data(kind, given)}")


@app.command()
def calibrate(
    protocol: ProtocolArgument,
    set_: SetOption = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Another file to write; default: where this machine looks.")] = None,
    device: DeviceOption = "auto",
    allow_plugins: PluginsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure what decides the bar, once, before anything is sealed.

    How real items and corrupted ones come out at the task's figures, and what baselines reach. Choose the thresholds of
    the bar from it; the seal holds its digest, and a plan whose bar needs it is refused without it.
    """
    from bakeoff.protocol.presets import load_protocol

    resolved = load_protocol(protocol, set_)
    permit(allow_plugins)
    import torch

    from bakeoff.cli.terminal import show_calibration
    from bakeoff.rundir.files import make_folder, write_json
    from bakeoff.tasks import build_task
    from bakeoff.tasks.calibration import stored

    task = build_task(resolved)
    before = task.calibration()
    typer.echo("measuring real items, corrupted items and baselines; this may take minutes ...", err=True)
    found = task.calibrate(torch.device(device_of(device)))
    if found is None:
        raise BakeoffError(f"{protocol}: its task has nothing to calibrate.")
    path = out or stored(resolved)
    make_folder(path.parent)
    write_json(path, found.document())
    if as_json:
        print_json({"digest": found.digest(), "path": str(path)} | found.document())
        return
    console = new_console()
    show_calibration(console, found, resolved.bar.samples)
    same = "" if before is None else " (as before)" if before.digest() == found.digest() else " (another than before)"
    console.print(f"digest {found.digest()}{same}", markup=False)
    console.print(f"written to {path}", markup=False)


@app.command()
def seal(
    protocol: ProtocolArgument,
    out: Annotated[Path | None, typer.Option(help="Run directory; default: runs/NAME.")] = None,
    set_: SetOption = [],  # noqa: B006
    allow_plugins: PluginsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fix everything that decides, before the first step.

    Writes the resolved protocol, its digest, the digests of data, judge and codec, the code's version and the time
    into a run directory; nothing is trained. `bakeoff run` with the same arguments then begins there; it seals by
    itself where this was not done.
    """
    from bakeoff.protocol.presets import load_protocol

    resolved = load_protocol(protocol, set_)
    from bakeoff.execute import runner
    from bakeoff.rundir.directory import read_seal
    from bakeoff.rundir.ledger import read_ledger

    permit(allow_plugins)
    directory = runner.prepare(out or runner.default_out(resolved), resolved, resume=False)
    sealed, ledger = read_seal(directory.path), read_ledger(directory.path)
    if as_json:
        print_json(sealed.model_dump(mode="json") | {"ledger": ledger.digest, "lint": sealed.plan["lint"]})
    else:
        from bakeoff.cli.terminal import show_seal

        show_seal(new_console(), directory.path, sealed, ledger.digest)


@app.command()
def run(
    protocol: ProtocolArgument,
    out: Annotated[Path | None, typer.Option(help="Run directory; default: runs/NAME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped or killed.")] = False,
    set_: SetOption = [],  # noqa: B006
    progress: Annotated[
        Literal["auto", "bar", "text", "none"],
        typer.Option(help="auto: a bar on a terminal, lines of text elsewhere."),
    ] = "auto",
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
    jobs: Annotated[
        int,
        typer.Option(
            min=1, max=1024, help="Trials at once, on the CPU, each with its share of the cores; probes are alone."
        ),
    ] = 1,
    data_dir: DataOption = None,
    allow_plugins: PluginsOption = False,
    checkpoint_every: Annotated[float, typer.Option(min=0, help="Seconds between a trial's checkpoints.")] = 30.0,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Begin no trial that, judging by the finished ones, would not end within so many."),
    ] = None,
    sweep_only: Annotated[
        bool, typer.Option("--sweep-only", help="Stop after the sweep, and print what a protocol may state of it.")
    ] = False,
) -> None:
    """Train, measure, judge, give the verdict.

    First the sweep, if the protocol has one; then every backbone with every seed, one process per trial, seed by seed;
    then the probes.
    """
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    from bakeoff.protocol.presets import load_protocol

    resolved = load_protocol(protocol, set_)
    if sweep_only and not resolved.to_try:
        raise BakeoffError(f"--sweep-only: {protocol} has no sweep to run; give it a [sweep] without `found`.")
    from bakeoff.cli.progress import Show
    from bakeoff.cli.terminal import show_estimate, show_headline, show_verdict, show_warnings
    from bakeoff.execute import runner, spent
    from bakeoff.execute.deadline import OutOfTime
    from bakeoff.execute.estimate import estimate
    from bakeoff.execute.local import Interrupted, Options, TrialFailed
    from bakeoff.rundir.directory import read_seal
    from bakeoff.rundir.ledger import read_ledger
    from bakeoff.rundir.sealed import found_toml
    from bakeoff.trial.plan import make_plan

    permit(allow_plugins)
    options = Options(device_of(device), threads, data_dir, checkpoint_every, allow_plugins, deadline, sweep_only, jobs)
    if data_dir is not None:
        from bakeoff.tasks import build_task

        build_task(resolved).check_data(data_dir)  # refuses bad files before anything is written
    console = new_console()
    show = Show(console, progress)
    try:
        directory = runner.prepare(out or runner.default_out(resolved), resolved, resume=resume)
        if progress != "none":
            show_warnings(console, read_seal(directory.path))
            if not options.device.startswith("cuda") and not any(trial.done for trial in directory.all_trials()):
                show_estimate(console, estimate(make_plan(resolved), options.threads_each), jobs)
        verdict = runner.execute(directory, options, show)
    except (TrialFailed, Interrupted, OutOfTime, KeyboardInterrupt, OSError) as error:
        again = ["bakeoff", *(part for part in sys.argv[1:] if part != "--resume"), "--resume"]
        stopped = isinstance(error, (Interrupted, OutOfTime, KeyboardInterrupt))
        why = f"Out of time: {error}" if isinstance(error, OutOfTime) else "Stopped"
        happened = f"{why}. Nothing is lost" if stopped else f"bakeoff: {error}\nThe last checkpoint is whole"
        typer.echo(printable(f"{happened}; go on with: {shlex.join(again)}"), err=True)
        raise typer.Exit(FAILED) from None
    finally:
        show.close()
    if sweep_only:
        typer.echo(f"\n{found_toml(directory)}")
        console.print(spent.said(), markup=False, highlight=False, soft_wrap=True)
        return
    if progress == "none":
        show_headline(console, verdict)
    else:
        show_verdict(console, verdict)
        console.print(f"samples, uncurated, the same start in the same place: {directory.overview}", markup=False)
        console.print(spent.said(), markup=False, highlight=False, soft_wrap=True)
        console.print(
            f"digest of the run: {read_ledger(directory.path).digest} (keep it elsewhere; see bakeoff verify)"
        )
        console.print(_reported(directory.path), markup=False, highlight=False, soft_wrap=True)
        if follows := _after_smoke(resolved.name):
            console.print(follows, markup=False, highlight=False, soft_wrap=True)
    if verdict.outcome == "deviated":
        raise typer.Exit(CHANGED)


def _reported(path: Path) -> str:
    """Writes the report of a run, and says where; or why there is none, which takes nothing from the run."""
    from bakeoff.report.page import write_report

    try:
        return f"report: {write_report(path)}"
    except (BakeoffError, OSError) as error:
        return f"no report could be written ({error}); try again with: bakeoff report {shlex.quote(str(path))}"


def _after_smoke(name: str) -> str:
    """What to run after a preset that only shows the chain."""
    from bakeoff.protocol.presets import preset_names

    larger = "mnist-quick" if name == "smoke" else name.replace("-smoke", "-quick")
    if larger == name or larger not in preset_names():
        return ""
    return f"This shows that the whole chain works, and nothing about backbones; for an answer: bakeoff run {larger}"
