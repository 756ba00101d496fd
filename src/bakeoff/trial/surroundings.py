"""Settings of a process that trains, in the environment from which it starts: torch's OpenMP threads, and memory.

A user's own settings are kept. Trials get them whatever starts them, the command line or a program that uses bakeoff.
"""

import os

# GNU OpenMP's idle threads spin for milliseconds after every operation. With one other busy process on the machine
# that made a training step up to thirty times slower; on an idle one they take a core from our own threads. 3000 turns
# (some ten microseconds) still bridge the gap between two operations.
SPIN = "3000"
# A training step walks through hundreds of megabytes, tens of thousands of pages of 4 KiB. From 2.35 on the malloc of
# glibc asks the system for larger pages, where it gives them to those who ask; elsewhere this does nothing.
LARGE_PAGES = "glibc.malloc.hugetlb=1"


def settled() -> dict[str, str]:
    """The environment of a process whose torch is to have the settings."""
    ours = {"GLIBC_TUNABLES": LARGE_PAGES}
    if "OMP_WAIT_POLICY" not in os.environ:
        ours["GOMP_SPINCOUNT"] = SPIN
    return ours | os.environ


def settle() -> None:
    """Gives this process the settings of the threads, and its children all. Call before torch is imported."""
    os.environ.update(settled())


def settings() -> dict[str, str]:
    """The settings of the trials, for the record of the environment."""
    prefixes = ("OMP_", "GOMP_", "GLIBC_TUNABLES", "BAKEOFF_")
    return {name: value for name, value in sorted(settled().items()) if name.startswith(prefixes)}
