"""Runs these tests on one PyTorch thread, and on every back end and instruction set there is.

The Triton kernels run under its interpreter, also where there is a GPU: `benchmarks.gpu` checks them on the card.
"""

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from bakeoff.ops import dispatch

INSTRUCTION_SETS = [] if dispatch.NATIVE is None else dispatch.NATIVE.instruction_sets()
NATIVE = [f"native-{name}" for name in INSTRUCTION_SETS]
MISSING = [pytest.param("", marks=pytest.mark.skip(reason="native kernels not built"))]
NO_TRITON = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason=f"Triton is not installed; {dispatch.TRITON_HINT}"
)
PREPARED: set[str] = set()
TRITON = pytest.param("triton", marks=NO_TRITON)
SWEEP = pytest.param("triton", marks=[NO_TRITON, pytest.mark.slow])  # interpreted, a case takes a second and more


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _hasten_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves most of its time: it prepares Triton's language at every call of a helper, where once a kernel is enough.

    Once for each of Triton's own modules, that is, for the kernel prepares what it sees itself.
    """
    from triton.runtime import interpreter

    function = getattr(interpreter, "InterpretedFunction", None)
    prepare = getattr(interpreter, "_patch_lang", None)
    if prepare is None or not hasattr(function, "rewrite"):
        return

    def call(self: Any, *args: object, **options: object) -> object:
        module = self.fn.__module__
        if module.startswith("triton.") and module not in PREPARED:
            prepare(self.fn)
            PREPARED.add(module)
        return self.rewrite()(*args, **options)

    monkeypatch.setattr(function, "__call__", call)


def _force(choice: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name, _, isa = choice.partition("-")
    monkeypatch.setenv("BAKEOFF_BACKEND", name)
    if name == "triton":
        from bakeoff.ops.causal_conv import triton_conv
        from bakeoff.ops.selective_scan import triton_launch

        # The interpreter takes as long for a large tile as for a small one.
        monkeypatch.setattr(triton_launch, "FORWARD", triton_launch.FORWARD._replace(N_BLOCK=64))
        monkeypatch.setattr(triton_launch, "BACKWARD", triton_launch.BACKWARD._replace(N_BLOCK=64))
        monkeypatch.setattr(triton_conv, "CHANNELS", 128)
        _hasten_interpreter(monkeypatch)
    if not isa:
        yield choice
        return
    assert dispatch.NATIVE is not None
    before = dispatch.NATIVE.active()
    dispatch.NATIVE.use(isa)
    yield choice
    dispatch.NATIVE.use(before)


@pytest.fixture(params=["reference", *NATIVE, SWEEP])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every back end, the native one once per instruction set."""
    yield from _force(request.param, monkeypatch)


@pytest.fixture(params=[*(NATIVE or MISSING), SWEEP])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every back end but the reference."""
    yield from _force(request.param, monkeypatch)


@pytest.fixture(params=[TRITON])
def triton(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The Triton back end, interpreted."""
    yield from _force(request.param, monkeypatch)


@pytest.fixture(params=NATIVE or MISSING)
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The native back end, once per instruction set."""
    yield from _force(request.param, monkeypatch)
