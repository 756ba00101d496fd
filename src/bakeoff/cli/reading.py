"""Commands that read figures and judge them: verdict, verify, audit."""

from typing import Annotated

import typer

from bakeoff.cli.base import (
    CHANGED,
    CONTRADICTED,
    FAILED,
    JsonOption,
    PluginsOption,
    RunArgument,
    app,
    new_console,
    permit,
    print_json,
)


@app.command()
def verdict(directory: RunArgument, allow_plugins: PluginsOption = False, as_json: JsonOption = False) -> None:
    """Apply the rule to a run, step by step.

    A partial run gets an indicative answer. If the protocol, the data, the judge, the codec or a measurement is not
    what was sealed, the verdict is DEVIATED, with what changed, and the exit code 3.
    """
    from bakeoff.cli.terminal import show_verdict
    from bakeoff.judging.verdicts import sealed_verdict, verdict_json

    permit(allow_plugins)
    opened, found = sealed_verdict(directory)
    if as_json:
        print_json(verdict_json(opened, found))
    else:
        show_verdict(new_console(), found)
    if found.outcome == "deviated":
        raise typer.Exit(CHANGED)


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
    from bakeoff.rundir.verify import verify as verify_run

    found = verify_run(directory, digest)
    if as_json:
        print_json({"outcome": found.outcome} | vars(found))
    else:
        from bakeoff.cli.terminal import show_verification

        show_verification(new_console(), directory, found)
    if found.outcome != "whole":
        raise typer.Exit(CHANGED if found.changed else FAILED)


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
    from bakeoff.protocol.audit.published import load_table

    published = load_table(table)
    from bakeoff.cli.auditing import audit_json, audited, show_audit

    found = audited(published)
    if as_json:
        print_json(audit_json(published, found))
    else:
        show_audit(new_console(), published, found)
    if strict and found.findings:
        raise typer.Exit(CONTRADICTED)
