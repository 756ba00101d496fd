"""The Triton kernels of the state space dual form, interpreted, against the reference in float64."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import assert_close, assert_equal
from torch import Tensor

from bakeoff.ops.ssd import reference
from bakeoff.ops.ssd.inputs import SsdInputs

ROWS = 16  # of a chunk in most tests: the interpreter takes a while for every chunk
SEQUENCES = ("y", "q_BLGRN", "k_BLGRN", "v_BLHRP")
Results = dict[str, Tensor]


@pytest.fixture(autouse=True)
def short_chunks(triton: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bakeoff.ops.ssd import triton_launch

    monkeypatch.setattr(triton_launch, "ROWS", ROWS)


def inputs(
    B: int,
    L: int,
    G: int,
    H: int,
    R: int,
    N: int,
    P: int,
    *,
    initial: bool = True,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> SsdInputs:
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g)

    return SsdInputs(
        q_BLGRN=normal(B, L, G, R, N).to(dtype),
        k_BLGRN=normal(B, L, G, R, N).to(dtype),
        v_BLHRP=normal(B, L, H, R, P).to(dtype),
        log_decay_BLH=-torch.rand(B, L, H, generator=g),
        w_BLH=normal(B, L, H),
        g_BLH=normal(B, L, H),
        initial_BHPN=normal(B, H, P, N) if initial else None,
    )


def output_gradients(x: SsdInputs) -> tuple[Tensor, Tensor]:
    B, _, H, _, P = x.v_BLHRP.shape
    g = torch.Generator().manual_seed(1)
    dy_BLHRP = torch.randn(x.v_BLHRP.shape, generator=g).to(x.v_BLHRP.dtype)
    return dy_BLHRP, torch.randn(B, H, P, x.q_BLGRN.shape[-1], generator=g)


def got(x: SsdInputs, reverse: bool = False, *, final: bool = True) -> Results:
    """y and, with `final`, the final state; the gradients of a fixed combination of them."""
    from bakeoff.ops.ssd import triton_launch

    y_BLHRP, final_BHPN, states = triton_launch.forward(x, reverse, final, True)
    assert (final_BHPN is not None) == final
    assert states is not None and states.shape == triton_launch.saved(x).shape
    dy_BLHRP, dfinal_BHPN = output_gradients(x)
    grads = triton_launch.backward(x, reverse, states, dy_BLHRP, dfinal_BHPN if final else None)
    for tensor, grad in zip(x, grads, strict=True):
        assert tensor is grad is None or (tensor is not None and grad is not None and grad.dtype == tensor.dtype)
    results = {"y": y_BLHRP, "final": final_BHPN} | grads._asdict()
    return {name: tensor for name, tensor in results.items() if tensor is not None}


def exact(x: SsdInputs, reverse: bool = False, *, final: bool = True) -> Results:
    leaves = SsdInputs._make(None if t is None else t.double().requires_grad_() for t in x)
    y_BLHRP, final_BHPN = reference.ssd(*leaves, reverse, torch.float64)
    outputs = {"y": y_BLHRP} | ({"final": final_BHPN} if final else {})
    weights = [t.double() for t in output_gradients(x)][: len(outputs)]
    torch.autograd.backward(tuple(outputs.values()), weights)
    grads = {name: t.grad for name, t in leaves._asdict().items() if t is not None and t.grad is not None}
    return {name: t.detach() for name, t in outputs.items()} | grads


@pytest.mark.parametrize("L", [1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS + 5])
@pytest.mark.parametrize("sizes", [(1, 4, 1, 5, 3), (2, 4, 2, 7, 5)], ids=str)
def test_it_is_the_reference(L: int, sizes: tuple[int, ...]) -> None:
    """Chunks one short, whole, and one token over, with one rank a token and with two; odd N and P."""
    x = inputs(1, L, *sizes)
    assert_close(got(x), exact(x))


@pytest.mark.parametrize("sizes", [(2, 9, 1, 2, 1, 5, 3), (2, 21, 1, 2, 3, 3, 17)], ids=str)
def test_reverse(sizes: tuple[int, ...]) -> None:
    """The other way: a chunk, and several whose rows three ranks do not fill."""
    x = inputs(*sizes)
    assert_close(got(x, True), exact(x, True))


@pytest.mark.parametrize("L", [ROWS, 2 * ROWS + 1])
@pytest.mark.parametrize(("initial", "final"), [(False, False), (True, False), (False, True)])
def test_states_may_be_absent(L: int, initial: bool, final: bool) -> None:
    x = inputs(1, L, 1, 2, 1, 5, 3, initial=initial)
    assert_close(got(x, final=final), exact(x, final=final))


def test_more_ranks_than_rows() -> None:
    x = inputs(1, 3, 1, 1, ROWS + 1, 4, 3)
    assert_close(got(x), exact(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_inputs(dtype: torch.dtype) -> None:
    """What has their dtype is rounded to it in the end; the rest is as exact as from float32."""
    x = inputs(1, ROWS + 3, 1, 2, 1, 20, 17, dtype=dtype)
    results, expected = got(x), exact(x)
    assert all(results[name].dtype == dtype for name in SEQUENCES)
    narrow = dict.fromkeys(SEQUENCES)
    rounding = torch.finfo(dtype).eps
    assert_close({n: results[n] for n in narrow}, {n: expected[n] for n in narrow}, rounding)
    rest = expected.keys() - narrow.keys()
    assert_close({n: results[n] for n in rest}, {n: expected[n] for n in rest})


def test_tiles_of_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunks that a GPU gets, and several tiles of N and P."""
    from bakeoff.ops.ssd import triton_launch

    monkeypatch.setattr(triton_launch, "ROWS", 64)
    assert triton_launch.OUTPUTS.P_BLOCK == 64 and triton_launch.OUTPUTS.N_BLOCK == 32
    x = inputs(1, 70, 1, 2, 1, 40, 65)
    assert_close(got(x), exact(x))


def test_strong_and_weak_decays_side_by_side() -> None:
    """No overflow, and small sums survive behind large ones."""
    strong = torch.where(torch.arange(40) % 7 < 2, -40.0, -1e-3).reshape(1, 40, 1).expand(1, 40, 2).contiguous()
    for log_decay in (strong, torch.zeros_like(strong)):
        x = inputs(1, 40, 1, 2, 1, 5, 3)._replace(log_decay_BLH=log_decay)
        assert_close(got(x), exact(x))


def test_strides_of_a_projection_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """q, k and v as slices of one tensor reach the kernels without a copy; a spread gradient is copied."""
    from bakeoff.ops.ssd import triton_launch

    B, L, R, N, P = 2, 5, 2, 4, 3
    x = inputs(B, L, 1, 2, R, N, P, initial=False)
    wide = torch.cat([t.flatten(2) for t in x[:3]], 2)
    q, k, v = wide.split([R * N, R * N, 2 * R * P], 2)
    views = x._replace(
        q_BLGRN=q.unflatten(2, (1, R, N)), k_BLGRN=k.unflatten(2, (1, R, N)), v_BLHRP=v.unflatten(2, (2, R, P))
    )
    y, _, states = triton_launch.forward(x, False, False, True)
    assert states is not None
    ones = torch.ones_like(y)
    expected = triton_launch.backward(x, False, states, ones, None)
    spread = triton_launch.backward(views, False, states, torch.ones(()).expand(y.shape), None)
    for mine, wanted in zip(spread, expected, strict=True):
        assert mine is wanted is None or (mine is not None and wanted is not None and torch.equal(mine, wanted))
    monkeypatch.setattr(torch.Tensor, "contiguous", lambda _: pytest.fail("copied"))
    assert torch.equal(triton_launch.forward(views, False, False, True)[0], y)
    triton_launch.backward(views, False, states, ones, None)


def test_no_samples() -> None:
    results = got(inputs(0, 20, 1, 2, 1, 5, 3))
    assert results["y"].shape == (0, 20, 2, 1, 3) and results["final"].shape == (0, 2, 3, 5)


def test_results_are_the_same_every_time() -> None:
    x = inputs(1, ROWS + 2, 1, 2, 1, 5, 3)
    assert_equal(got(x), got(x))


def test_memory_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest tensor holds the states between chunks, N P / ROWS numbers a token."""
    sizes: list[int] = []
    new_empty = torch.Tensor.new_empty

    def recorded(self: Any, *shape: Any, **options: Any) -> Tensor:
        made = new_empty(self, *shape, **options)
        sizes.append(made.numel())
        return made

    monkeypatch.setattr(torch.Tensor, "new_empty", recorded)
    L, N, P = 4 * ROWS, 16, 16
    got(inputs(1, L, 1, 1, 1, N, P))
    assert sizes and max(sizes) <= L * N * P / ROWS


@pytest.mark.slow
@settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    B=st.integers(1, 2),
    L=st.integers(1, 40),
    G=st.integers(1, 2),
    heads=st.integers(1, 2),
    R=st.integers(1, 5),
    N=st.integers(1, 70),
    P=st.integers(1, 70),
    reverse=st.booleans(),
    states=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_fuzz(
    B: int, L: int, G: int, heads: int, R: int, N: int, P: int, reverse: bool, states: bool, seed: int
) -> None:
    x = inputs(B, L, G, G * heads, R, N, P, initial=states, seed=seed)
    assert_close(got(x, reverse, final=states), exact(x, reverse, final=states))
