"""Shared by all tests: one torch thread, so that tests behave alike on busy machines."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)
EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def examples() -> Path:
    return EXAMPLES
