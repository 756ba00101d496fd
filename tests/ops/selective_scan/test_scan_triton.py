"""What the scan's Triton kernels have beside the tests of every back end: their tiles, and stretches in parallel."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import assert_close, assert_equal, exact_scan, leaves, run_scan, scan_inputs

from bakeoff.ops import selective_scan


def test_every_kernel_once(triton: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan in one stretch and in several, forward and backward."""
    from bakeoff.ops.selective_scan import triton_launch

    inputs = scan_inputs(2, 28, 5, 4)
    assert_close(run_scan(inputs), exact_scan(inputs))
    monkeypatch.setattr(triton_launch, "SHORTEST", triton_launch.SEGMENT)
    assert triton_launch._Plan.of(2, 28, 5, 4).splits > 1
    assert_close(run_scan(inputs), exact_scan(inputs))


@pytest.mark.slow
@pytest.mark.parametrize("reverse", [False, True])
def test_tiles_of_the_card(triton: str, monkeypatch: pytest.MonkeyPatch, reverse: bool) -> None:
    """The tiles that a GPU gets; several blocks of channels and two segments."""
    from bakeoff.ops.selective_scan import triton_launch

    monkeypatch.undo()
    monkeypatch.setenv("BAKEOFF_BACKEND", "triton")
    assert (triton_launch.FORWARD.N_BLOCK, triton_launch.BACKWARD.N_BLOCK) == (1, 2)
    inputs = scan_inputs(1, 16, 130, 3)
    assert_close(run_scan(inputs, reverse=reverse), exact_scan(inputs, reverse=reverse))


@pytest.mark.slow
@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("L", [28, 45])
def test_stretches_in_parallel(
    triton: str, monkeypatch: pytest.MonkeyPatch, L: int, reverse: bool, optional: bool
) -> None:
    """Few samples of many tokens are cut; the last stretch may be shorter, and need not be whole segments."""
    from bakeoff.ops.selective_scan import triton_launch

    inputs = scan_inputs(2, L, 5, 4, optional=optional)
    whole = run_scan(inputs, reverse=reverse)
    monkeypatch.setattr(triton_launch, "SHORTEST", triton_launch.SEGMENT)
    assert triton_launch._Plan.of(2, L, 5, 4).splits > 1
    cut = run_scan(inputs, reverse=reverse)
    assert_close(cut, exact_scan(inputs, reverse=reverse))
    assert any(not torch.equal(cut[name], whole[name]) for name in whole)


@pytest.mark.slow
def test_results_are_the_same_every_time(triton: str) -> None:
    inputs = scan_inputs(2, 20, 70, 5)
    assert_equal(run_scan(inputs), run_scan(inputs))


@pytest.mark.slow
def test_memory_is_linear(triton: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No (B, L, D, N) tensor."""
    B, L, D, N = 1, 56, 64, 64
    sizes: list[int] = []

    def record(name: str) -> None:
        real = getattr(torch.Tensor, name)

        def recorded(*args: object, **kwargs: object) -> torch.Tensor:
            x = real(*args, **kwargs)
            sizes.append(x.numel())
            return x

        monkeypatch.setattr(torch.Tensor, name, recorded)

    record("new_empty")
    record("new_zeros")
    x = leaves(scan_inputs(B, L, D, N))
    selective_scan(**x).sum().backward()  # type: ignore[arg-type]
    assert sizes and max(sizes) <= B * L * D * N / 14


@pytest.mark.slow
def test_strides_of_a_projection_are_used(triton: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """B and C as slices of one tensor reach the packing, u and z the kernels, without a copy."""
    inputs = scan_inputs(1, 9, 6, 3) | {"initial_state_BDN": None}
    wide = torch.cat([inputs["u_BLD"], inputs["z_BLD"]], -1)
    views = dict(inputs, u_BLD=wide[..., :6], z_BLD=wide[..., 6:])
    plain = selective_scan(**inputs)  # type: ignore[arg-type]
    monkeypatch.setattr(torch.Tensor, "contiguous", lambda x: pytest.fail("copied") if x.dim() == 3 else x)
    assert torch.equal(selective_scan(**views), plain)  # type: ignore[arg-type]


@pytest.mark.slow
@settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    B=st.integers(1, 2),
    L=st.integers(1, 31),
    D=st.integers(1, 80),
    N=st.integers(1, 130),
    reverse=st.booleans(),
    optional=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_fuzz(triton: str, B: int, L: int, D: int, N: int, reverse: bool, optional: bool, seed: int) -> None:
    inputs = scan_inputs(B, L, D, N, optional=optional, seed=seed)
    rounded = exact_scan(inputs, reverse=reverse, dtype=torch.float32)
    assert_close(run_scan(inputs, reverse=reverse), exact_scan(inputs, reverse=reverse), rounded=rounded)
