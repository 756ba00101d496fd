"""The command line. Everything slow is imported inside the commands, so that --help answers at once."""

import signal
import sys

import typer

from bakeoff.cli import making, probing, reading, showing, tools  # noqa: F401  imported in the order of --help
from bakeoff.cli.base import BAD_INPUT, CTRL_C, FAILED, UNTIL_DONE, app
from bakeoff.errors import BakeoffError, printable
from bakeoff.trial import surroundings


def main() -> None:
    """Exit codes: 0 done, 2 bad input (a message, no traceback), 3 not as sealed or contradictory, 1 anything else."""
    surroundings.settle()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM stops a command as Ctrl-C does, from the start
    try:
        with UNTIL_DONE:
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
