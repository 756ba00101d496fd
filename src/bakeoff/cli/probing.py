"""The command that probes a finished run: probe."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bakeoff.cli.base import (
    FAILED,
    DataOption,
    DeviceOption,
    JsonOption,
    PluginsOption,
    RunArgument,
    ThreadsOption,
    app,
    device_of,
    new_console,
    permit,
    print_json,
)
from bakeoff.errors import BakeoffError, did_you_mean, printable

if TYPE_CHECKING:
    from bakeoff.protocol.calls import Reading

PROBES = ("calls",)


@app.command()
def probe(
    directory: RunArgument,
    name: Annotated[str, typer.Argument(help="calls: quality against calls of the network, and seconds.")] = "calls",
    calls: Annotated[
        str, typer.Option(help="Numbers of calls a path, before guidance, up to 1000.", metavar="N,N,...")
    ] = "1,2,4,5,10,20,50,100",
    again: Annotated[bool, typer.Option("--again", help="Measure anew what was measured.")] = False,
    progress: Annotated[Literal["auto", "text", "none"], typer.Option(help="What is said while it works.")] = "auto",
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
    data_dir: DataOption = None,
    allow_plugins: PluginsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure more of a finished run.

    calls: samples every trained model with few calls of the network and with many, on two sets of noise, times whole
    solves, and says how few calls pass the bar (what the first set shows must hold on the second), and what equal
    quality costs. It trains nothing and decides nothing; the report then shows the curves. Stopped, it goes on with the
    models that are not done.
    """
    if name not in PROBES:
        raise BakeoffError(f"probe {name}: unknown{did_you_mean(name, PROBES)}; allowed: {', '.join(PROBES)}.")
    try:
        ladder = [int(one) for one in calls.split(",")]
    except ValueError:
        raise BakeoffError(f"--calls {calls}: allowed: whole numbers with commas between, such as 1,2,10.") from None
    from bakeoff.cli.progress import Show
    from bakeoff.execute.local import Interrupted, Options, TrialFailed
    from bakeoff.execute.probing import probe_calls
    from bakeoff.protocol.calls import read_calls
    from bakeoff.rundir.directory import RunDir

    permit(allow_plugins)
    run, console = RunDir.open(directory), new_console()
    options = Options(device_of(device), threads, data_dir, allow_plugins=allow_plugins)
    show = Show(console, "none" if as_json else progress)
    try:
        record, timed = probe_calls(run, ladder, options, show, again=again)
    except (TrialFailed, Interrupted, KeyboardInterrupt) as error:
        why = "Stopped" if isinstance(error, KeyboardInterrupt) else str(error)
        onward = shlex.join(["bakeoff", *(part for part in sys.argv[1:] if part != "--again")])
        typer.echo(printable(f"{why}. Models that are done are kept; go on with: {onward}"), err=True)
        raise typer.Exit(FAILED) from None
    finally:
        show.close()
    reading = read_calls(record, timed, run.protocol.rule, run.protocol.bar, run.figures)
    if as_json:
        documents = {"calls": record.model_dump(mode="json"), "solve_time": timed.model_dump(mode="json")}
        print_json({**documents, "enough": reading.enough, "said": reading.said()})
    else:
        _show(console, reading)


def _show(console: Any, reading: "Reading") -> None:
    from rich.table import Table

    from bakeoff.protocol.calls import COSTS

    titles = [figure.label for figure in reading.figures]
    table = Table("backbone", "calls", "steps", *titles, "pass by now", *(f"{one}, ms" for one in COSTS.values()))
    for row in reading.rows:
        values = [row.figures.get(figure.name) for figure in reading.figures]
        times = [row.ms.get(cost) for cost in COSTS]
        cells = ["-" if one is None else f"{one:.4g}" for one in (*values, *times)]
        cells.insert(len(values), f"{row.passed} of {row.seeds}")
        table.add_row(row.backbone, str(row.calls), str(row.steps), *cells)
    console.print(table)
    console.print(
        "Figures are means over seeds and two sets of noise; a seed passes where both sets do. Calls are counted before"
        " guidance; times are of whole solves.",
        markup=False,
    )
    for line in reading.said():
        console.print(f"  {line}", markup=False, soft_wrap=True)
