"""What stands around mixers and scans, by the native kernels, against plain PyTorch in float64."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracle import Tensors, assert_close, assert_equal, gradients, leaves
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import BackwardCFunction
from torch.utils.flop_counter import FlopCounterMode

from bakeoff.errors import BackendMissing
from bakeoff.ops.fused import Norm, Scales, gated, gated_sum, normed, normed_heads, ranked, turned_pair

Call = Callable[[Tensors], tuple[Tensor, ...]]
LENGTHS = (1, 63, 64, 65, 130)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gate_inputs(B: int, L: int, H: int, R: int, P: int, *, skip: bool, scales: bool, norm: bool) -> Tensors:
    ranks = H, R, P
    return {
        "y": normal(0, B, L, *ranks),
        "z": normal(1, B, L, H, P),
        "D": normal(2, H) if skip else None,
        "x": normal(3, B, L, H, P) if skip else None,
        "in": normal(4, *ranks) if scales else None,
        "by": normal(5, *ranks) if scales else None,
        "of": normal(6, *ranks) if scales else None,
        "weight": normal(7, H * P) if norm else None,
    }


def gate(x: Tensors, groups: int = 1) -> tuple[Tensor, ...]:
    y, z, D, input_, in_, by, of, weight = x.values()
    assert y is not None and z is not None
    skip = None if D is None or input_ is None else (D, input_)
    scales = None if in_ is None or by is None or of is None else Scales(in_, by, of)
    return (gated(y, z, skip=skip, scales=scales, norm=None if weight is None else Norm(weight, groups, 1e-5)),)


def turn_inputs(B: int, L: int, G: int, H: int, R: int, N: int, S: int, *, bias: bool) -> Tensors:
    return {
        "q": normal(0, B, L, G, R, N),
        "k": normal(1, B, L, G, R, N),
        "q bias": normal(2, H, R, N) if bias else None,
        "k bias": normal(3, H, R, N) if bias else None,
        "angle": torch.rand(B, L, H, S, generator=torch.Generator().manual_seed(4)) * 2 * math.pi,
    }


def turn(x: Tensors) -> tuple[Tensor, ...]:
    return turned_pair(*x.values())  # type: ignore[arg-type]


def norm_inputs(B: int, L: int, D: int, *, shift: bool) -> Tensors:
    """Channels of very different means, so that a variance taken from squares would lose its digits."""
    return {
        "x": normal(0, B, L, D) + 10 * normal(1, B, L, 1),
        "factor": normal(2, B, 1, D),
        "shift": normal(3, B, 1, D) if shift else None,
    }


def layer_norm(x: Tensors) -> tuple[Tensor, ...]:
    return (normed(*x.values(), centred=True, eps=1e-5),)  # type: ignore[arg-type]


def rms_norm(x: Tensors) -> tuple[Tensor, ...]:
    return (normed(*x.values(), centred=False, eps=1e-6),)  # type: ignore[arg-type]


def residual(x: Tensors) -> tuple[Tensor, ...]:
    return (gated_sum(*x.values()),)  # type: ignore[arg-type]


def heads_inputs(B: int, L: int, H: int, P: int, *, norm: bool) -> Tensors:
    return {"x": normal(0, B, L, H, P), "weight": normal(1, P) if norm else None}


def heads(x: Tensors, rope: bool = True) -> tuple[Tensor, ...]:
    of, weight = x.values()
    assert of is not None
    angles_LI = torch.arange(of.shape[1])[:, None] / 10.0 ** torch.arange(of.shape[-1] // 2)
    turns = (angles_LI.cos().to(of.dtype), angles_LI.sin().to(of.dtype)) if rope else None
    return (normed_heads(of, weight, turns, 1e-6),)


def ranks(x: Tensors) -> tuple[Tensor, ...]:
    return (ranked(*x.values()),)  # type: ignore[arg-type]


def run(call: Call, inputs: Tensors) -> dict[str, Tensor]:
    x = leaves(inputs)
    return gradients(call(x), x)


def exact(
    call: Call, inputs: Tensors, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    """By plain PyTorch; what a result does not depend on has a gradient of zeros."""
    with monkeypatch.context() as plain:
        plain.setenv("BAKEOFF_BACKEND", "reference")
        x = leaves(inputs, dtype)
        found = gradients(call(x), x)
    return {k: torch.zeros_like(one) for k, one in x.items() if one is not None} | found


CASES: dict[str, tuple[Call, Tensors]] = {
    "gate": (gate, gate_inputs(2, 70, 3, 2, 9, skip=True, scales=True, norm=False)),
    "gate and norm": (gate, gate_inputs(2, 70, 3, 1, 9, skip=True, scales=False, norm=True)),
    "turn": (turn, turn_inputs(2, 70, 2, 4, 2, 10, 3, bias=True)),
    "ranks": (ranks, {"x": normal(0, 2, 70, 3, 9), "scale": normal(1, 3, 2, 9)}),
    "heads": (heads, heads_inputs(2, 70, 3, 10, norm=True)),
    "layer norm": (layer_norm, norm_inputs(2, 70, 37, shift=True)),
    "RMS norm": (rms_norm, norm_inputs(2, 70, 37, shift=False)),
    "residual": (residual, {"x": normal(0, 2, 70, 37), "gate": normal(1, 2, 1, 37), "y": normal(2, 2, 70, 37)}),
}
case = pytest.mark.parametrize(("call", "inputs"), CASES.values(), ids=CASES)


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize(("H", "R", "P"), [(1, 1, 1), (3, 1, 5), (2, 1, 16), (2, 1, 33), (1, 3, 7), (4, 4, 24)])
@pytest.mark.parametrize(("skip", "norm"), [(True, False), (False, False), (True, True)])
def test_gate_matches_float64(
    native: str, L: int, H: int, R: int, P: int, skip: bool, norm: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = gate_inputs(2, L, H, R, P, skip=skip, scales=R > 1, norm=norm)
    rounded = exact(gate, inputs, monkeypatch, torch.float32)  # the gradient through the norm of one channel cancels
    assert_close(run(gate, inputs), exact(gate, inputs, monkeypatch), rounded=rounded)


def test_gate_norms_each_group_by_itself(native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = gate_inputs(2, 20, 6, 1, 7, skip=True, scales=False, norm=True)
    for groups in (2, 3, 6):
        call: Any = lambda x, groups=groups: gate(x, groups)  # noqa: E731
        assert_close(run(call, inputs), exact(call, inputs, monkeypatch))


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize(
    ("G", "H", "R", "N", "S"),
    [(1, 1, 1, 4, 2), (1, 3, 1, 16, 4), (2, 4, 2, 10, 3), (1, 2, 4, 64, 16), (3, 3, 1, 33, 16), (1, 2, 1, 7, 0)],
)
@pytest.mark.parametrize("bias", [True, False])
def test_turn_matches_float64(
    native: str, L: int, G: int, H: int, R: int, N: int, S: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = turn_inputs(2, L, G, H, R, N, S, bias=bias)
    assert_close(run(turn, inputs), exact(turn, inputs, monkeypatch))


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize(("H", "R", "P"), [(1, 2, 1), (3, 2, 5), (2, 4, 16), (2, 3, 33)])
def test_ranks_match_float64(native: str, L: int, H: int, R: int, P: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs: Tensors = {"x": normal(0, 2, L, H, P), "scale": normal(1, H, R, P)}
    assert_close(run(ranks, inputs), exact(ranks, inputs, monkeypatch))


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize("D", [2, 5, 16, 33, 96])
@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("call", [layer_norm, rms_norm])
def test_norm_matches_float64(
    native: str, call: Call, L: int, D: int, shift: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = norm_inputs(2, L, D, shift=shift)
    rounded = exact(call, inputs, monkeypatch, torch.float32)  # the gradient through the norm of two channels cancels
    assert_close(run(call, inputs), exact(call, inputs, monkeypatch), rounded=rounded)


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize(("H", "P"), [(1, 2), (3, 6), (2, 24), (4, 32), (2, 66)])
@pytest.mark.parametrize(("norm", "rope"), [(True, True), (True, False), (False, True)])
def test_heads_match_float64(
    native: str, L: int, H: int, P: int, norm: bool, rope: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = heads_inputs(2, L, H, P, norm=norm)
    call: Any = lambda x: heads(x, rope)  # noqa: E731
    rounded = exact(call, inputs, monkeypatch, torch.float32)
    assert_close(run(call, inputs), exact(call, inputs, monkeypatch), rounded=rounded)


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize("D", [1, 5, 16, 33])
def test_residual_matches_float64(native: str, L: int, D: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs: Tensors = {"x": normal(0, 2, L, D), "gate": normal(1, 2, 1, D), "y": normal(2, 2, L, D)}
    assert_close(run(residual, inputs), exact(residual, inputs, monkeypatch))


@case
def test_results_do_not_depend_on_threads(native: str, call: Call, inputs: Tensors) -> None:
    sequences = {k for k, x in inputs.items() if x is not None and len(x) == 2 and x.dim() > 2}
    many = {k: x.repeat(40, *[1] * (x.dim() - 1)) if x is not None and k in sequences else x for k, x in inputs.items()}
    one = run(call, many)
    torch.set_num_threads(3)
    assert_equal(run(call, many), one)


@case
def test_strided_and_narrow_sequences(
    native: str, call: Call, inputs: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of a projection, in bfloat16 as autocast gives them; the results are those of the rounded inputs."""

    def part(name: str, x: Tensor | None) -> Tensor | None:
        if x is None or x.dim() < 3 or x.shape[:2] != (2, 70) or name == "angle":
            return x
        wide = torch.cat([x.flatten(2), x.flatten(2)], -1).to(torch.bfloat16)
        return wide[..., : x[0, 0].numel()].unflatten(-1, x.shape[2:])

    given = {name: part(name, x) for name, x in inputs.items()}
    assert_close(run(call, given), exact(call, given, monkeypatch), 6e-3)


@case
def test_the_kernels_refuse_what_they_cannot_do(native: str, call: Call, inputs: Tensors) -> None:
    x = leaves(inputs)
    name = "y" if "y" in x else next(iter(x))
    first = x[name]
    assert first is not None
    (grad,) = torch.autograd.grad(call(x)[0].square().sum(), first, create_graph=True)
    with pytest.raises(RuntimeError, match=r"no second derivatives.*BAKEOFF_BACKEND=reference"):
        grad.sum().backward()
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match="no forward-mode"):
        call({**inputs, name: forward_ad.make_dual(first.detach(), torch.ones_like(first))})
    with pytest.raises(BackendMissing, match="BAKEOFF_BACKEND forces the native kernels"):
        call(leaves(inputs, torch.float64))


@case
def test_dispatch_modes_see_plain_operations(native: str, call: Call, inputs: Tensors) -> None:
    expected = call(leaves(inputs))
    with FlopCounterMode(display=False):
        found = call(leaves(inputs))
    for got, one in zip(found, expected, strict=True):
        assert isinstance(one.grad_fn, BackwardCFunction) and not isinstance(got.grad_fn, BackwardCFunction)
        torch.testing.assert_close(got, one, rtol=1e-5, atol=1e-5)
