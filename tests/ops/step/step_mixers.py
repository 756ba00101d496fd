"""Mixers of many shapes, and what their steps give: natively, and by the plain step or forward in float64."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from bakeoff.models.mixers import Attention, Gru, Mamba, Mamba2, Mamba3, Mlp
from bakeoff.models.mixers.attention import Cache

TOLERANCE = 5e-6
L, READ = 14, 5  # tokens, and how many of them are read before the steps

CASES: dict[str, Callable[[], Any]] = {
    "mamba": lambda: Mamba(33, 70),
    "mamba of one state and tap": lambda: Mamba(16, 7, d_state=1, d_conv=1),
    "mamba of 20 states and 8 taps": lambda: Mamba(40, 130, d_state=20, d_conv=8),
    "mamba of 64 states": lambda: Mamba(20, 48, d_state=64, d_conv=2),
    "mamba, not selective": lambda: Mamba(24, 50, d_state=5, selective=False),
    "mamba, not selective, no system": lambda: Mamba(24, 50, d_state=16, selective=False, discretise="none"),
    "mamba by euler": lambda: Mamba(24, 50, discretise="euler"),
    "mamba, no system": lambda: Mamba(24, 50, d_state=7, discretise="none"),
    "mamba2": lambda: Mamba2(33, 64, d_state=16),
    "mamba2 in groups": lambda: Mamba2(24, 60, d_state=20, heads=6, groups=3, d_conv=3),
    "mamba2 of one state and channel": lambda: Mamba2(16, 5, d_state=1, heads=5, d_conv=1),
    "mamba2 of 64 states": lambda: Mamba2(16, 68, heads=2),
    "mamba3": lambda: Mamba3(33, 64, d_state=16),
    "mamba3 in groups": lambda: Mamba3(24, 60, d_state=20, heads=6, groups=3, decay="heavy_tail"),
    "mamba3 of 4 ranks": lambda: Mamba3(24, 44, d_state=64, rank=4, groups=2, out_norm=True),
    "mamba3 of 4 ranks, bare": lambda: Mamba3(
        24, 20, d_state=7, rank=4, bias=False, trapezoid=False, rotation=False, heads=4
    ),
    "mamba3 all turned": lambda: Mamba3(16, 34, d_state=6, heads=2, rope_fraction=1.0, bias=False, out_norm=True),
    "attention": lambda: Attention(33, 60, heads=4, causal=True),
    "attention in groups": lambda: Attention(
        24, 48, heads=6, kv_heads=2, causal=True, rope=True, qk_norm=True, grid=(4, 4), context=3
    ),
    "attention in a window": lambda: Attention(24, 72, heads=2, causal=True, rope=True, window=9),
    "attention in a short window": lambda: Attention(24, 35, heads=5, kv_heads=1, causal=True, window=3, qk_norm=True),
    "attention to itself": lambda: Attention(24, 64, heads=4, causal=True, window=1),
    "mlp": lambda: Mlp(33, 70),
    "mlp, swiglu": lambda: Mlp(16, 129, gate="swiglu"),
    "gru": lambda: Gru(33, 50),
    "gru of one unit": lambda: Gru(5, 1),
}
every_case = pytest.mark.parametrize("case", CASES)


def built(case: str) -> Any:
    """With parameters away from where they begin: ones and zeros hide mistakes."""
    torch.manual_seed(0)
    mixer = CASES[case]().eval()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return mixer


def tokens(mixer: Any, B: int, seed: int = 1) -> Tensor:
    return torch.randn(B, L, mixer.d_model, generator=torch.Generator().manual_seed(seed))


@contextmanager
def back_end(name: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAKEOFF_BACKEND", name)
        yield


@torch.no_grad()
def stepped(mixer: Any, x_BLD: Tensor, read: int = READ) -> tuple[Tensor, Any]:
    """y of the tokens behind those that one prefill reads, and the state then; on the back end in force."""
    with back_end("reference"):
        _, state = mixer.prefill(x_BLD[:, :read], mixer.start(len(x_BLD)))
    found = []
    for x_BD in x_BLD[:, read:].unbind(1):
        y_BD, state = mixer.step(x_BD, state)
        found.append(y_BD)
    return torch.stack(found, 1), state


@torch.no_grad()
def in_float64(mixer: Any, x_BLD: Tensor, read: int = READ) -> tuple[Tensor, Any]:
    """The same by prefills in float64: some of the plain steps compute in float32 whatever they are given."""
    double, x_BLD = copy.deepcopy(mixer).double(), x_BLD.double()
    with back_end("reference"):
        _, state = double.prefill(x_BLD[:, :read], double.start(len(x_BLD)))
        return double.prefill(x_BLD[:, read:], state)


def parts(state: Any) -> list[Tensor]:
    """The tensors of a state."""
    if isinstance(state, Cache):
        counts = torch.tensor([state.length, state.dropped])
        return [state.kept[..., : state.length, :], counts]
    return [] if state is None else [state] if isinstance(state, Tensor) else list(state)


def assert_near(got: Tensor, exact: Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    """In relative L2 error."""
    assert got.shape == exact.shape, what
    error = ((got.double() - exact.double()).norm() / exact.double().norm().clamp_min(1e-30)).item()
    assert not exact.numel() or error <= tolerance, f"{what}: relative L2 error {error:.1e}, allowed {tolerance:.0e}"
