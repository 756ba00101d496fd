"""Settings of the C libraries below torch, made in the environment before they are loaded.

A user's own settings stand. Trials inherit them from the command that starts them.
"""

import os

# GNU OpenMP's idle threads spin for milliseconds after every operation. With one other busy process on the machine
# that made a training step up to thirty times slower; on an idle one it takes a core from our own threads. 3000 turns
# (some ten microseconds) still bridge the gap between two operations.
SPIN = {"GOMP_SPINCOUNT": "3000"}

# glibc hands freed blocks back to the system, and the next step pays for them again in page faults.
KEEP_FREED_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**25)}


def settle() -> None:
    """Call before torch is imported."""
    if "OMP_WAIT_POLICY" not in os.environ:
        _set(SPIN)
    _set(KEEP_FREED_MEMORY)


def settings() -> dict[str, str]:
    """What is in force, for the record of the environment."""
    prefixes = ("OMP_", "GOMP_", "MALLOC_", "BAKEOFF_")
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(prefixes)}


def _set(values: dict[str, str]) -> None:
    for name, value in values.items():
        os.environ.setdefault(name, value)
