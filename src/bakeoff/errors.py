"""The exceptions whose messages are written for the user, and helpers for those messages."""

import difflib
from collections.abc import Iterable


class BakeoffError(ValueError):
    """Bad input. The message tells the user what was given, what is allowed and what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


def printable(text: str) -> str:
    """The text with control characters and lone surrogates escaped, since quoted text could control the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


class PlugInRefused(BakeoffError):
    """A plug-in is needed, and the user has not allowed plug-in code to be loaded."""


class BackendMissing(BakeoffError, RuntimeError):
    """The demanded back end is not built here, or cannot serve these tensors."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Returns " (did you mean NAME?)" with the known name nearest to the given one; empty if none is near."""
    close = difflib.get_close_matches(given, list(known), 1)
    return f" (did you mean {close[0]}?)" if close else ""
