"""Runs these tests on one PyTorch thread, and on every back end and instruction set there is."""

from collections.abc import Iterator

import pytest
import torch

from bakeoff.ops import dispatch

INSTRUCTION_SETS = [] if dispatch.NATIVE is None else dispatch.NATIVE.instruction_sets()
NATIVE = [f"native-{name}" for name in INSTRUCTION_SETS]
MISSING = [pytest.param("", marks=pytest.mark.skip(reason="native kernels not built"))]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _force(choice: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name, _, isa = choice.partition("-")
    monkeypatch.setenv("BAKEOFF_BACKEND", name)
    if not isa:
        yield choice
        return
    assert dispatch.NATIVE is not None
    before = dispatch.NATIVE.active()
    dispatch.NATIVE.use(isa)
    yield choice
    dispatch.NATIVE.use(before)


@pytest.fixture(params=["reference", *NATIVE])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every back end, the native one once per instruction set."""
    yield from _force(request.param, monkeypatch)


@pytest.fixture(params=NATIVE or MISSING)
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The native back end, once per instruction set."""
    yield from _force(request.param, monkeypatch)
