"""Shared by all tests: one torch thread, so that tests behave alike on busy machines; and Triton interpreted."""

import os
from pathlib import Path

import pytest

os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported, which torch may do too
import torch

torch.set_num_threads(1)
FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def fixtures() -> Path:
    return FIXTURES
