"""The two tiers: what `make test` leaves to `make test-slow` bears the marker `slow`."""

from typing import Any

import pytest


def slow(*values: Any) -> Any:
    """One case of a parametrised test, for the slow tier."""
    return pytest.param(*values, marks=pytest.mark.slow)
