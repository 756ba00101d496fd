"""Settings of torch's OpenMP threads, set in the environment before the threads start.

A user's own settings are kept. Trials inherit the settings from the command that starts them.
"""

import os

# GNU OpenMP's idle threads spin for milliseconds after every operation. With one other busy process on the machine
# that made a training step up to thirty times slower; on an idle one they take a core from our own threads. 3000 turns
# (some ten microseconds) still bridge the gap between two operations.
SPIN = "3000"


def settle() -> None:
    """Sets the environment. Call before torch is imported."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN)


def settings() -> dict[str, str]:
    """The settings in force, for the record of the environment."""
    prefixes = ("OMP_", "GOMP_", "BAKEOFF_")
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(prefixes)}
