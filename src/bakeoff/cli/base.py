"""The application and what all commands share: options, exit codes and output."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from bakeoff.registry import plugins_allowed

FAILED, BAD_INPUT, CHANGED = 1, 2, 3
CONTRADICTED = 3  # with --strict: the input is readable but contradicts itself; the same code as for a changed seal
CTRL_C = 130  # typer's exit code
UNTIL_DONE = ExitStack()  # what holds to the end of the command

app = typer.Typer(
    name="bakeoff",
    help="Choose a sequence backbone before you spend the GPUs: train the candidates under identical "
    "conditions, with matched parameters and a rule fixed beforehand, and read a verdict you can check.",
    epilog="Start with: bakeoff plan mnist-quick, then bakeoff run mnist-quick",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _presets(incomplete: str) -> list[str]:
    """For the shell's completion; where none fits, the shell offers files."""
    from bakeoff.protocol.presets import preset_names

    return [name for name in preset_names() if name.startswith(incomplete)]


ProtocolArgument = Annotated[
    str,
    typer.Argument(
        metavar="PROTOCOL", help="A preset (see: bakeoff ls) or the path of a TOML file.", autocompletion=_presets
    ),
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


def device_of(name: str) -> str:
    from bakeoff.execute.devices import device_of

    return device_of(name, "--device")


def permit(allowed: bool) -> None:
    UNTIL_DONE.enter_context(plugins_allowed(allowed))


def new_console() -> Any:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=1, allow_nan=False))
