"""Shared by all tests: one torch thread, so that tests behave alike on busy machines."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)
FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def fixtures() -> Path:
    return FIXTURES
