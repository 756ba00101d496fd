"""The selective scan against the float64 reference, on every back end and instruction set."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import assert_close, assert_equal, exact_scan, flipped, leaves, relative_l2, run_scan, scan_inputs, tokens

from bakeoff.ops import selective_scan
from bakeoff.ops.selective_scan import reference
from bakeoff.ops.selective_scan.native import CHUNK

LENGTHS = (1, CHUNK - 1, CHUNK, CHUNK + 1, 196)
CHANNELS_STATES = ((1, 1), (5, 7), (15, 3), (16, 16), (70, 33), (3, 128), (141, 6))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("D", "N"), CHANNELS_STATES)
@pytest.mark.parametrize("L", LENGTHS)
def test_matches_float64(backend: str, L: int, D: int, N: int, reverse: bool) -> None:
    inputs = scan_inputs(2, tokens(L, backend), D, N)
    assert_close(run_scan(inputs, reverse=reverse), exact_scan(inputs, reverse=reverse))


@pytest.mark.parametrize("dt_softplus", [False, True])
def test_matches_float64_without_the_optional_inputs(backend: str, dt_softplus: bool) -> None:
    inputs = scan_inputs(3, 40, 20, 12, optional=False)
    if not dt_softplus:
        inputs["dt_BLD"] = inputs["dt_BLD"].abs() * 0.1
    assert_close(run_scan(inputs, dt_softplus=dt_softplus), exact_scan(inputs, dt_softplus=dt_softplus))


def test_matches_float64_at_the_size_of_the_benchmark(native: str) -> None:
    inputs = scan_inputs(2, 196, 256, 64)
    assert_close(run_scan(inputs), exact_scan(inputs), tolerance=1e-6)


@pytest.mark.parametrize("scale", [1e-4, 1e3])
def test_matches_float64_for_slow_and_for_steep_decay(backend: str, scale: float) -> None:
    """Steep: exp(dt A) underflows and its exponent must be clamped."""
    inputs = scan_inputs(1, 50, 12, 16)
    inputs["A_DN"] = inputs["A_DN"] * scale
    assert_close(run_scan(inputs), exact_scan(inputs))


def test_matches_float64_when_states_grow(backend: str) -> None:
    inputs = scan_inputs(1, 20, 8, 8)
    inputs["A_DN"] = inputs["A_DN"].abs() * 0.3
    assert_close(run_scan(inputs), exact_scan(inputs), tolerance=5e-6)


@pytest.mark.parametrize("raw", [-60.0, -15.0, 15.0, 60.0])
def test_softplus_at_its_ends(backend: str, raw: float) -> None:
    inputs = scan_inputs(1, 20, 8, 8)
    inputs["dt_BLD"] = inputs["dt_BLD"] * 0.1 + raw
    got, exact = run_scan(inputs), exact_scan(inputs)
    for name in ("output 0", "dt_BLD", "u_BLD"):
        assert relative_l2(got[name], exact[name]) < 5e-6


def test_reverse_is_the_scan_of_flipped_sequences(backend: str) -> None:
    inputs = scan_inputs(2, 33, 20, 12)
    back, forth = run_scan_of(inputs, reverse=True), run_scan_of(flipped(inputs), reverse=False)
    torch.testing.assert_close(back, forth.flip(1), rtol=2e-6, atol=2e-6)


def run_scan_of(inputs: dict, **options: bool) -> torch.Tensor:
    return selective_scan(**inputs, **options)  # type: ignore[arg-type]


def test_state_can_be_handed_on(backend: str) -> None:
    """Two halves, the second started from the first one's final state, are the whole."""
    inputs = scan_inputs(2, 30, 20, 12)
    whole, final = selective_scan(**inputs, return_final_state=True)  # type: ignore[arg-type]
    first = {k: x[:, :17] if "_BL" in k else x for k, x in inputs.items()}
    second = {k: x[:, 17:] if "_BL" in k else x for k, x in inputs.items()}
    y1, state = selective_scan(**first, return_final_state=True)  # type: ignore[arg-type]
    second["initial_state_BDN"] = state
    y2, end = selective_scan(**second, return_final_state=True)  # type: ignore[arg-type]
    torch.testing.assert_close(torch.cat([y1, y2], 1), whole, rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(end, final, rtol=2e-6, atol=2e-6)


def test_closed_form_for_constant_inputs(backend: str) -> None:
    """u = B = C = 1, dt and A constant: h_t = dt (1 - a^t) / (1 - a), a = exp(dt A)."""
    one = torch.ones(1, 50, 1)
    dt, A = 0.1, -0.7
    y = selective_scan(one, one * dt, torch.full((1, 1), A), one, one, dt_softplus=False)
    a = torch.exp(torch.tensor(dt * A, dtype=torch.float64))
    exact = dt * (1 - a ** torch.arange(1, 51)) / (1 - a)
    torch.testing.assert_close(y[0, :, 0].double(), exact, rtol=2e-6, atol=0)


def test_strided_views_give_the_same(backend: str) -> None:
    """dt, B and C are slices of one projection, u and z of another; gradients flow back into them."""
    B, L, D, N = 2, 31, 20, 12
    inputs = scan_inputs(B, L, D, N)
    plain = run_scan(inputs)
    wide = torch.cat([inputs[k] for k in ("dt_BLD", "B_BLN", "C_BLN")], -1).requires_grad_()
    both = torch.cat([inputs["u_BLD"], inputs["z_BLD"]], -1).requires_grad_()
    dt, Bm, Cm = wide.split([D, N, N], -1)
    u, z = both.chunk(2, -1)
    views = dict(inputs, u_BLD=u, dt_BLD=dt, B_BLN=Bm, C_BLN=Cm, z_BLD=z)
    y, final = selective_scan(**views, return_final_state=True)  # type: ignore[arg-type]
    g = torch.Generator().manual_seed(1)
    weights = [torch.randn(x.shape, generator=g) for x in (y, final)]
    torch.autograd.backward((y, final), weights)
    got = {"output 0": y.detach(), "output 1": final.detach()}
    got |= dict(zip(("dt_BLD", "B_BLN", "C_BLN"), wide.grad.split([D, N, N], -1), strict=True))
    got |= dict(zip(("u_BLD", "z_BLD"), both.grad.chunk(2, -1), strict=True))
    assert_close(got, {k: plain[k].double() for k in got}, tolerance=1e-6)


def test_views_are_not_copied_and_memory_is_linear(native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    B, L, D, N = 2, 64, 32, 16
    sizes: list[int] = []
    real = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: sizes.append((x := real(*a, **k)).numel()) or x)
    x = leaves(scan_inputs(B, L, D, N))
    selective_scan(**x).sum().backward()  # type: ignore[arg-type]
    assert sizes and max(sizes) < B * L * D * N / 8


@pytest.mark.parametrize("shape", ["transposed", "expanded", "stepped"])
def test_any_strides(backend: str, shape: str) -> None:
    inputs = scan_inputs(3, 20, 12, 5)
    u = inputs["u_BLD"]
    if shape == "transposed":
        inputs["u_BLD"] = u.transpose(1, 2).contiguous().transpose(1, 2)
    elif shape == "expanded":
        inputs["u_BLD"] = u[:1].expand(3, -1, -1)
    else:
        inputs["u_BLD"] = torch.cat([u, u], -1)[..., ::2]
    x = {k: v.contiguous() for k, v in inputs.items()}
    assert torch.equal(run_scan_of(inputs), run_scan_of(x))


def test_gradients_of_a_sum(backend: str) -> None:
    """sum() hands backward a tensor of stride 0."""
    inputs = scan_inputs(2, 20, 12, 5)
    x, exact = leaves(inputs), leaves(inputs, torch.float64)
    run_scan_of(x).sum().backward()
    run_scan_of_exact(exact).sum().backward()
    for name, leaf in x.items():
        assert relative_l2(leaf.grad, exact[name].grad) < 1e-5


def run_scan_of_exact(inputs: dict) -> torch.Tensor:
    return reference.selective_scan(*inputs.values(), True, False)[0]


def test_gradients_when_only_the_final_state_is_used(backend: str) -> None:
    inputs = scan_inputs(2, 20, 12, 5, optional=False)
    x = leaves(inputs)
    _, final = selective_scan(**x, return_final_state=True)  # type: ignore[arg-type]
    final.square().sum().backward()
    assert x["u_BLD"].grad.abs().sum() > 0
    assert x["C_BLN"].grad is None or not x["C_BLN"].grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("D", [16, 21])
def test_half_precision_rounds_only_inputs_and_outputs(backend: str, dtype: torch.dtype, D: int) -> None:
    """Against float64 on the same rounded inputs; the state is float32, so errors do not grow with L."""
    inputs = scan_inputs(2, tokens(196, backend), D, 11)
    for name in ("u_BLD", "dt_BLD", "B_BLN", "C_BLN", "z_BLD"):
        inputs[name] = inputs[name].to(dtype)
    got, exact = run_scan(inputs), exact_scan(inputs)
    assert got["output 0"].dtype == got["u_BLD"].dtype == dtype
    assert got["output 1"].dtype == got["A_DN"].dtype == torch.float32
    assert_close(
        got, exact, tolerance=8e-3 if backend == "triton" else 4e-3
    )  # its interpreter cuts off bits of bfloat16
    assert relative_l2(got["output 1"], exact["output 1"]) < 2e-6


def test_mixed_dtypes(compiled: str) -> None:
    inputs = scan_inputs(1, 20, 12, 5)
    inputs["B_BLN"] = inputs["B_BLN"].bfloat16()
    got = run_scan(inputs)
    assert got["output 0"].dtype == torch.float32 and got["B_BLN"].dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_runs_under_autocast(backend: str, dtype: torch.dtype) -> None:
    inputs = scan_inputs(1, 20, 12, 5)
    x = leaves(inputs)
    with torch.autocast("cpu", dtype=dtype):
        x["u_BLD"].data.mul_(1.0)
        y = selective_scan(**dict(x, B_BLN=torch.matmul(x["B_BLN"], torch.eye(5))))  # type: ignore[arg-type]
        y.float().sum().backward()
    assert relative_l2(y.detach(), run_scan_of_exact(leaves(inputs, torch.float64)).detach()) < 1e-2
    assert all(torch.isfinite(leaf.grad).all() for leaf in x.values())


def test_results_do_not_depend_on_the_number_of_threads(native: str) -> None:
    inputs = scan_inputs(3, 45, 130, 20)
    one = run_scan(inputs)
    for threads in (2, 3, 8):
        torch.set_num_threads(threads)
        assert_equal(run_scan(inputs), one)


def test_calls_from_several_python_threads(native: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    inputs = scan_inputs(2, 45, 130, 20)
    one = run_scan_of(inputs)

    def call(_: int) -> bool:
        torch.set_num_threads(2)
        return torch.equal(run_scan_of(inputs), one)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(call, range(16)))


def test_nan_and_infinity_propagate(backend: str) -> None:
    inputs = scan_inputs(1, 30, 12, 5, optional=False)
    for name in ("u_BLD", "dt_BLD", "B_BLN", "C_BLN"):
        bad = dict(inputs)
        bad[name] = inputs[name].clone()
        bad[name][0, 10, 3] = float("nan")
        y = run_scan_of(bad)
        assert torch.isfinite(y[:, :10]).all()
        assert torch.isnan(y[0, 10, 3])
    bad = dict(inputs, A_DN=inputs["A_DN"].clone())
    bad["A_DN"][3, 2] = float("nan")
    assert torch.isnan(run_scan_of(bad)[0, :, 3]).any()


def test_no_samples(backend: str) -> None:
    got = run_scan(scan_inputs(0, 5, 4, 3))
    assert got["output 0"].shape == (0, 5, 4)
    assert not got["A_DN"].any()


@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    B=st.integers(1, 3),
    L=st.integers(1, 45),
    D=st.integers(1, 80),
    N=st.integers(1, 40),
    reverse=st.booleans(),
    optional=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_fuzz(native: str, B: int, L: int, D: int, N: int, reverse: bool, optional: bool, seed: int) -> None:
    inputs = scan_inputs(B, L, D, N, optional=optional, seed=seed)
    rounded = exact_scan(inputs, reverse=reverse, dtype=torch.float32)
    assert_close(run_scan(inputs, reverse=reverse), exact_scan(inputs, reverse=reverse), rounded=rounded)
