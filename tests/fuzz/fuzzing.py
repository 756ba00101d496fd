"""How much is fuzzed, and what counts as passed: a file is read, or refused with a clear error.

BAKEOFF_FUZZ is the number of examples for each way of damaging a file, in the slow tier; `make fuzz` runs many.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from bakeoff.errors import BakeoffError
from tiers import slow

FEW, EXAMPLES = 5, int(os.environ.get("BAKEOFF_FUZZ", "100"))
COUNT: Counter[str] = Counter()
IN_BOTH_TIERS = pytest.mark.parametrize("examples", [FEW, slow(EXAMPLES)])


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples <= 1000,
        suppress_health_check=list(HealthCheck),
    )


def read_or_refuse(load: Callable[[Path], object], path: Path) -> None:
    try:
        load(path)
        COUNT["read"] += 1
    except BakeoffError as error:
        str(error).encode()  # can be printed
        assert len(str(error)) < 20_000
        COUNT["refused"] += 1
