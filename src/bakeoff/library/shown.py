"""The terminal's tables as plain text, and as HTML for a notebook."""

import io
from collections.abc import Callable

from rich.console import Console

WIDTH = 160
PRE = '<pre style="font-family: monospace; line-height: normal; white-space: pre">{code}</pre>'


def as_text(show: Callable[[Console], None]) -> str:
    """What `show` prints on a console, without colours."""
    console = _console()
    show(console)
    lines = console.export_text(styles=False).splitlines()
    return "\n".join(line.rstrip() for line in lines)


def as_html(show: Callable[[Console], None]) -> str:
    """What `show` prints on a console, as one preformatted element."""
    console = _console()
    show(console)
    return console.export_html(inline_styles=True, code_format=PRE)


def _console() -> Console:
    return Console(file=io.StringIO(), record=True, width=WIDTH, highlight=False, force_jupyter=False)
