"""The one exception a user is meant to read."""


class BakeoffError(ValueError):
    """Bad input, said in words a user can act on: what was given, what is allowed, what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


class BackendMissing(BakeoffError, RuntimeError):
    """A back end was demanded that is not built here or cannot serve these tensors."""
