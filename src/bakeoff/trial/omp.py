"""Settings of torch's OpenMP threads, set in the environment before the threads start.

A user's own settings are kept. Trials get them whatever starts them, the command line or a program that uses bakeoff.
"""

import os

# GNU OpenMP's idle threads spin for milliseconds after every operation. With one other busy process on the machine
# that made a training step up to thirty times slower; on an idle one they take a core from our own threads. 3000 turns
# (some ten microseconds) still bridge the gap between two operations.
SPIN = "3000"


def settled() -> dict[str, str]:
    """The environment of a process whose torch is to have the settings."""
    ours = {} if "OMP_WAIT_POLICY" in os.environ else {"GOMP_SPINCOUNT": SPIN}
    return ours | os.environ


def settle() -> None:
    """Gives this process the settings. Call before torch is imported."""
    os.environ.update(settled())


def settings() -> dict[str, str]:
    """The settings of the trials, for the record of the environment."""
    prefixes = ("OMP_", "GOMP_", "BAKEOFF_")
    return {name: value for name, value in sorted(settled().items()) if name.startswith(prefixes)}
