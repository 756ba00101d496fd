"""The command line. Everything slow is imported inside the commands, so that --help answers at once."""

import json
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bakeoff.errors import BakeoffError, printable
from bakeoff.trial import process

FAILED, BAD_INPUT, CHANGED = 1, 2, 3
CONTRADICTED = 3  # with --strict: as for what was sealed, the input can be read and does not hold
CTRL_C = 130  # what typer exits with

app = typer.Typer(
    name="bakeoff",
    help="Choose a sequence backbone before you spend the GPUs: train the candidates under identical "
    "conditions, with matched parameters and a rule fixed beforehand, and read a verdict you can check.",
    epilog="Start with: bakeoff plan mnist-quick, then bakeoff run mnist-quick",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ProtocolArgument = Annotated[
    str, typer.Argument(metavar="PROTOCOL", help="A preset (see: bakeoff ls) or the path of a TOML file.")
]
SetOption = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one key of the protocol, e.g. training.lr=3e-4, backbones.0.repeats=4, "
        "training.epochs=none (removes it). Repeatable.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of tables.")]
RunArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.")]
DataOption = Annotated[
    Path | None,
    typer.Option(help="Folder with your own MNIST files (IDX; raw, .gz or .xz). Default: the shipped ones."),
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto: cuda where there is one.")]
PluginsOption = Annotated[
    bool,
    typer.Option(
        "--allow-plugins", help="Let the protocol load mixers from your modules; their code runs on this machine."
    ),
]
ThreadsOption = Annotated[int, typer.Option(min=0, max=1024, help="CPU threads; 0 leaves the choice to torch.")]


def _print_version(asked: bool) -> None:
    if asked:
        from bakeoff import __version__

        typer.echo(f"bakeoff {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


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
    _permit(allow_plugins)
    from bakeoff.trial.plan import estimate, lint_plan, make_plan, plan_json, refuse_errors

    planned = make_plan(resolved)
    estimated, findings = estimate(planned), lint_plan(planned)
    if as_json:
        _print_json(plan_json(planned, estimated))
    else:
        from bakeoff.terminal import show_lint, show_plan

        show_plan(_console(), planned, estimated)
        show_lint(_console(), findings)
    refuse_errors(findings)


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
    from bakeoff.trial import runner
    from bakeoff.trial.ledger import read_ledger
    from bakeoff.trial.outcome import read_seal

    _permit(allow_plugins)
    directory = runner.prepare(out or runner.default_out(resolved), resolved, resume=False)
    sealed, ledger = read_seal(directory.path), read_ledger(directory.path)
    if as_json:
        _print_json(sealed.model_dump(mode="json") | {"ledger": ledger.digest, "lint": sealed.plan["lint"]})
    else:
        from bakeoff.terminal import show_seal

        show_seal(_console(), directory.path, sealed, ledger.digest)


@app.command()
def verify(
    directory: RunArgument,
    digest: Annotated[
        str | None, typer.Option(metavar="HEX", help="The run's digest as you kept it elsewhere; compared, too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that nothing in a run was changed.

    Every file of the sealed part against its digest in the hash-chained log.jsonl, and the log against itself. Exit
    codes: 0 whole, 3 changed (each file is named), 1 nothing changed but the run is not finished.
    """
    from bakeoff.trial.ledger import verify as verify_run

    found = verify_run(directory, digest)
    if as_json:
        _print_json({"outcome": found.outcome} | vars(found))
    else:
        from bakeoff.terminal import show_verification

        show_verification(_console(), directory, found)
    if found.outcome != "whole":
        raise typer.Exit(CHANGED if found.changed else FAILED)


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
    data_dir: DataOption = None,
    allow_plugins: PluginsOption = False,
    checkpoint_every: Annotated[float, typer.Option(min=0, help="Seconds between a trial's checkpoints.")] = 30.0,
) -> None:
    """Train, measure, judge, give the verdict.

    Every backbone with every seed, one process per trial, seed by seed; then the speed pass.
    """
    from bakeoff.protocol.presets import load_protocol

    resolved = load_protocol(protocol, set_)
    from bakeoff.terminal import Show, show_headline, show_verdict, show_warnings
    from bakeoff.trial import runner
    from bakeoff.trial.ledger import read_ledger
    from bakeoff.trial.outcome import read_seal

    _permit(allow_plugins)
    options = runner.Options(_device(device), threads, data_dir, checkpoint_every, allow_plugins)
    if data_dir is not None:
        from bakeoff.data import load_mnist

        load_mnist("train", data_dir)  # refuse bad files before anything is written
    console = _console()
    show = Show(console, progress)
    try:
        directory = runner.prepare(out or runner.default_out(resolved), resolved, resume=resume)
        if progress != "none":
            show_warnings(console, read_seal(directory.path))
        verdict = runner.execute(directory, options, show)
    except (runner.TrialFailed, runner.Interrupted, KeyboardInterrupt, OSError) as error:
        again = ["bakeoff", *(part for part in sys.argv[1:] if part != "--resume"), "--resume"]
        stopped = isinstance(error, (runner.Interrupted, KeyboardInterrupt))
        happened = "Stopped. Nothing is lost" if stopped else f"bakeoff: {error}\nThe last checkpoint is whole"
        typer.echo(printable(f"{happened}; go on with: {shlex.join(again)}"), err=True)
        raise typer.Exit(FAILED) from None
    finally:
        show.close()
    if progress == "none":
        show_headline(console, verdict)
    else:
        show_verdict(console, verdict)
        console.print(f"samples, same noise in the same place: {directory.overview}", markup=False)
        console.print(
            f"digest of the run: {read_ledger(directory.path).digest} (keep it elsewhere; see bakeoff verify)"
        )
    if verdict.outcome == "deviated":
        raise typer.Exit(CHANGED)


@app.command()
def verdict(directory: RunArgument, as_json: JsonOption = False) -> None:
    """Apply the rule to a run, step by step.

    A partial run gets an indicative answer. If the protocol, the data, the judge, the codec or a measurement is not
    what was sealed, the verdict is DEVIATED, with what changed, and the exit code 3.
    """
    from bakeoff.terminal import show_verdict
    from bakeoff.trial.outcome import sealed_verdict, verdict_json

    opened, found = sealed_verdict(directory)
    if as_json:
        _print_json(verdict_json(opened, found))
    else:
        show_verdict(_console(), found)
    if found.outcome == "deviated":
        raise typer.Exit(CHANGED)


@app.command()
def report(
    directory: RunArgument,
    published: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="Published figures (TOML, see bakeoff audit) to stand beside.")
    ] = None,
    allow_plugins: PluginsOption = False,
) -> None:
    """Write a page to read, offline, in one file.

    report/report.html, the same as report.md, and the figures as SVG and PDF, below the run directory.
    """
    from bakeoff.protocol.published import load_table
    from bakeoff.report import write_report

    _permit(allow_plugins)
    page = write_report(directory, None if published is None else load_table(str(published)))
    typer.echo(f"{page} ({page.stat().st_size / 2**20:.1f} MiB); figures and report.md beside it")


@app.command()
def sample(
    checkpoint: Annotated[
        Path, typer.Argument(help="A trial's model.safetensors, or any state_dict of such a model (safetensors, .pt).")
    ],
    protocol: Annotated[
        str | None, typer.Option(help="For weights without a header: the preset or TOML file they were trained by.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="For weights without a header: which backbone they are.")] = None,
    label: Annotated[int | None, typer.Option(min=0, max=9, help="Digit to draw; default: 0 to 9 in turn.")] = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 64,
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Solver steps; default: the protocol's.")] = None,
    solver: Annotated[
        Literal["euler", "midpoint", "heun"] | None, typer.Option(help="Default: the protocol's.")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(min=0, max=20, help="Classifier-free guidance weight; default: the protocol's."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the noise.")] = 0,
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("grid.png"),
    device: DeviceOption = "auto",
    allow_plugins: PluginsOption = False,
) -> None:
    """Draw samples from a trained model."""
    from bakeoff.protocol.presets import load_protocol
    from bakeoff.trial.checkpoint import load_model
    from bakeoff.trial.grids import grid, png
    from bakeoff.trial.rundir import write_atomic

    _permit(allow_plugins)
    loaded = load_model(checkpoint, None if protocol is None else load_protocol(protocol), backbone)
    if label is not None and not loaded.task.classes:
        raise BakeoffError(f"--label {label}: this model is unconditional; leave --label out.")
    changes = {"steps": steps, "solver": solver, "guidance": guidance}
    sampling = loaded.protocol.sampling.model_copy(update={k: v for k, v in changes.items() if v is not None})
    if sampling.guidance != 1.0 and not loaded.protocol.training.label_dropout:
        raise BakeoffError(
            f"--guidance {sampling.guidance:g}: this model was trained without label dropout; only 1 works."
        )
    model = loaded.model.to(_device(device))
    noise, labels = loaded.task.starting_noise(count, seed), loaded.task.sample_labels(count, label)
    trajectory = loaded.task.sample(model, noise, labels, sampling)
    try:
        write_atomic(out, png(grid(loaded.task.images(trajectory.x).numpy())))
    except OSError as error:
        raise BakeoffError(f"--out {out}: cannot be written ({error.strerror}).") from error
    typer.echo(f"{out}: {count} samples, {sampling.steps} {sampling.solver} steps, {trajectory.nfe} evaluations each")


@app.command("check-plugin")
def check_plugin(
    name: Annotated[str, typer.Argument(help="package.module:Class, or a name that --plugin modules register.")],
    plugin: Annotated[
        list[str], typer.Option(metavar="MODULE", help="Module to import first, which registers the name. Repeatable.")
    ] = [],  # noqa: B006
    option: Annotated[
        list[str], typer.Option(metavar="KEY=VALUE", help="Option for the constructor. Repeatable.")
    ] = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Test whether a mixer keeps the contract.

    Shapes, gradients, determinism, initialisation, independence of samples, costs. Naming it here allows its code to
    be loaded. Exit code 0 if all checks hold, 1 if one does not.
    """
    from bakeoff.protocol.presets import parse_options

    options = parse_options(option)
    _permit(True)
    from bakeoff.models.contract import check_mixer
    from bakeoff.models.registry import load_plugins, mixer_class

    load_plugins(plugin)
    checks = check_mixer(mixer_class(name), options)
    if as_json:
        _print_json({"mixer": name, "checks": [vars(check) for check in checks]})
    else:
        from bakeoff.terminal import show_checks

        show_checks(_console(), name, checks)
    if not all(check.passed for check in checks):
        raise typer.Exit(FAILED)


@app.command()
def audit(
    table: Annotated[str, typer.Argument(metavar="TABLE.toml", help="A published table; docs/audit.md has its keys.")],
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 3 if there are findings.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a published table for contradictions.

    Each with its arithmetic; then the verdict that the rule gives on the figures as printed. A check that lacks a
    figure says so. Nothing is trained; the floor of the loss takes some seconds.
    """
    from bakeoff.protocol.published import load_table

    published = load_table(table)
    from bakeoff.auditing import audit_json, audited, show_audit

    found = audited(published)
    if as_json:
        _print_json(audit_json(published, found))
    else:
        show_audit(_console(), published, found)
    if strict and found.findings:
        raise typer.Exit(CONTRADICTED)


@app.command()
def ls(
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Folder to look for runs in; default: runs.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List presets, and runs below a folder."""
    from bakeoff.listing import list_presets, list_runs, show_listing

    if directory is not None and not directory.is_dir():
        problem = "is not a folder" if directory.exists() else "no such folder"
        raise BakeoffError(f"{directory}: {problem}; give the folder to look for runs in.")
    directory = directory or Path("runs")
    presets, runs = list_presets(), list_runs(directory)
    if as_json:
        _print_json({"presets": presets, "runs": runs})
    else:
        show_listing(_console(), presets, runs, directory)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Show versions, devices and kernels.

    Which back end serves each operation, and why.
    """
    from bakeoff.doctor import diagnose, show_diagnosis

    found = diagnose()
    if as_json:
        _print_json(found)
    else:
        show_diagnosis(_console(), found)


def main() -> None:
    """Exit codes: 0 done, 2 bad input (a message, no traceback), 3 not as sealed or contradictory, 1 anything else."""
    process.settle()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops a command as Ctrl-C does, from its start
    try:
        app()
    except BakeoffError as error:
        typer.echo(printable(f"bakeoff: {error}"), err=True)
        sys.exit(BAD_INPUT)
    except OSError as error:
        typer.echo(f"bakeoff: {error}; nothing that was whole before is lost.", err=True)
        sys.exit(FAILED)
    except SystemExit as done:
        if done.code == CTRL_C:
            typer.echo("bakeoff: stopped", err=True)
            sys.exit(FAILED)
        raise


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BakeoffError(f"--device {name}: no such device; allowed: auto, cpu, cuda, cuda:N.") from None
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise BakeoffError(f"--device {name}: this machine and this build of torch have {count} CUDA devices.")
    if device.type not in ("cpu", "cuda"):
        raise BakeoffError(f"--device {name}: not supported; allowed: auto, cpu, cuda, cuda:N.")
    return name


def _permit(allowed: bool) -> None:
    if allowed:
        from bakeoff.models.registry import allow_plugins

        allow_plugins()


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=1, allow_nan=False))
