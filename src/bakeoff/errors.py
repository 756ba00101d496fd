"""The one exception a user is meant to read, and what its messages share."""

import difflib
from collections.abc import Iterable


class BakeoffError(ValueError):
    """Bad input, said in words a user can act on: what was given, what is allowed, what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


def printable(text: str) -> str:
    """The text with control characters and lone surrogates written out: it may quote a stranger, and terminals obey."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


class PlugInRefused(BakeoffError):
    """A part of somebody else's code is needed that the user has not allowed to be loaded."""


class BackendMissing(BakeoffError, RuntimeError):
    """A back end was demanded that is not built here or cannot serve these tensors."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """ " (did you mean NAME?)" with the known name nearest to what was given; empty if none is near."""
    close = difflib.get_close_matches(given, list(known), 1)
    return f" (did you mean {close[0]}?)" if close else ""
