"""Commands that make pages of a run: report, studio, export."""

import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from bakeoff.cli.base import DeviceOption, PluginsOption, RunArgument, app, device_of, new_console, permit
from bakeoff.errors import BakeoffError


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
    from bakeoff.protocol.audit.published import load_table
    from bakeoff.report import write_report

    permit(allow_plugins)
    page = write_report(directory, None if published is None else load_table(str(published)))
    typer.echo(f"{page} ({page.stat().st_size / 2**20:.1f} MiB); figures and report.md beside it")


@app.command()
def studio(
    directory: RunArgument,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine a token is needed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes any that is free.")] = 8377,
    token: Annotated[
        str | None,
        typer.Option(envvar="BAKEOFF_TOKEN", help="With --host: what visitors must know; default: drawn at random."),
    ] = None,
    open_: Annotated[
        bool | None, typer.Option("--open/--no-open", help="Open a browser; default: on a terminal.")
    ] = None,
    device: DeviceOption = "auto",
    allow_plugins: PluginsOption = False,
) -> None:
    """Open a local page to play in.

    Step the flow under all backbones side by side, judge samples blind, watch a run in progress. Ctrl-C
    ends it. Nothing leaves this machine: it listens on 127.0.0.1 unless --host says otherwise.
    """
    if not directory.is_dir():
        raise BakeoffError(f"{directory}: no such run directory.")
    if not any((directory / name).exists() for name in ("protocol.toml", "seal.json", "log.jsonl")):
        raise BakeoffError(f"{directory}: not a run directory; `bakeoff ls` lists those that are there.")
    from bakeoff.studio import serve

    permit(allow_plugins)
    opening = sys.stdout.isatty() if open_ is None else open_

    def ready(url: str) -> None:
        typer.echo(f"bakeoff studio: {url} (Ctrl-C ends it)")
        if opening:
            webbrowser.open(url)

    try:
        serve(directory, host, port, token, device_of(device), ready)
    except KeyboardInterrupt:
        typer.echo("bakeoff studio: ended")


@app.command()
def export(
    directory: RunArgument,
    static: Annotated[Path, typer.Option(metavar="OUT", help="New folder for the pages.")],
    allow_plugins: PluginsOption = False,
) -> None:
    """Write the studio's flow page for any static host.

    With flows that were recorded with the protocol's own sampling.
    """
    from rich.progress import Progress

    from bakeoff.studio.export import export_static

    permit(allow_plugins)
    with Progress(console=new_console(), transient=True) as bar:
        task = bar.add_task("flows", total=None)
        out = export_static(
            directory,
            static,
            lambda done, planned: bar.update(task, completed=done, total=planned),
        )
    typer.echo(f"{out}: open it through a web server, e.g. python -m http.server --directory {out}")
