"""The causal convolution against the float64 reference and torch's own, on every back end."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import assert_close, assert_equal, conv_inputs, exact_conv, flipped, leaves, relative_l2, run_conv, tokens

from bakeoff.ops import causal_conv


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("activation", ["silu", None])
@pytest.mark.parametrize("K", range(1, 9))
def test_matches_float64(backend: str, K: int, activation: str | None, reverse: bool) -> None:
    inputs = conv_inputs(2, 41, 13, K)
    exact = exact_conv(inputs, silu=activation is not None, reverse=reverse)
    assert_close(run_conv(inputs, activation=activation, reverse=reverse), exact)


@pytest.mark.parametrize("D", [1, 8, 64, 70, 200])
@pytest.mark.parametrize("L", [1, 2, 31, 32, 33, 196])
def test_sizes(backend: str, L: int, D: int) -> None:
    inputs = conv_inputs(3, tokens(L, backend), D, 4, bias=D % 2 == 0)
    assert_close(run_conv(inputs), exact_conv(inputs))


def test_matches_torch_conv1d(backend: str) -> None:
    x, weight, bias = conv_inputs(2, 20, 6, 4).values()
    padded = F.pad(x.transpose(1, 2), (3, 0))
    expected = F.silu(F.conv1d(padded, weight.unsqueeze(1), bias, groups=6)).transpose(1, 2)
    torch.testing.assert_close(causal_conv(x, weight, bias), expected)


def test_is_causal(backend: str) -> None:
    x, weight, bias = conv_inputs(1, 20, 6, 4).values()
    changed = x.clone()
    changed[:, 12:] += 1.0
    before, after = causal_conv(x, weight, bias), causal_conv(changed, weight, bias)
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.equal(before[:, 12], after[:, 12])


def test_reverse_is_the_convolution_of_the_flipped_sequence(backend: str) -> None:
    inputs = conv_inputs(2, 40, 6, 3)
    back = causal_conv(**inputs, reverse=True)  # type: ignore[arg-type]
    forth = causal_conv(**flipped(inputs))  # type: ignore[arg-type]
    torch.testing.assert_close(back, forth.flip(1), rtol=1e-6, atol=1e-6)


def test_strided_view_gives_the_same(backend: str) -> None:
    inputs = conv_inputs(2, 40, 20, 4)
    wide = torch.cat([inputs["x_BLD"], inputs["x_BLD"]], -1).requires_grad_()
    x = leaves(inputs)
    y = causal_conv(wide.chunk(2, -1)[0], x["weight_DK"], x["bias_D"])
    y.sum().backward()
    plain = leaves(inputs)
    expected = causal_conv(**plain)  # type: ignore[arg-type]
    expected.sum().backward()
    assert torch.equal(y, expected)
    assert torch.equal(wide.grad[..., :20], plain["x_BLD"].grad)
    assert torch.equal(x["weight_DK"].grad, plain["weight_DK"].grad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(backend: str, dtype: torch.dtype) -> None:
    inputs = conv_inputs(2, 40, 21, 4)
    inputs["x_BLD"] = inputs["x_BLD"].to(dtype)
    got = run_conv(inputs)
    assert got["output 0"].dtype == got["x_BLD"].dtype == dtype
    assert got["weight_DK"].dtype == torch.float32
    assert_close(got, exact_conv(inputs), tolerance=8e-3 if backend == "triton" else 4e-3)


def test_large_activations(backend: str) -> None:
    """The sigmoid at arguments of hundreds, where exp would overflow."""
    inputs = conv_inputs(1, 40, 8, 4)
    inputs["x_BLD"] = inputs["x_BLD"] * 300
    got, exact = run_conv(inputs), exact_conv(inputs)
    assert relative_l2(got["output 0"], exact["output 0"]) < 2e-6
    assert relative_l2(got["x_BLD"], exact["x_BLD"]) < 2e-5


def test_results_do_not_depend_on_the_number_of_threads(native: str) -> None:
    inputs = conv_inputs(3, 70, 130, 4)
    one = run_conv(inputs)
    for threads in (2, 3, 8):
        torch.set_num_threads(threads)
        assert_equal(run_conv(inputs), one)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    B=st.integers(1, 3),
    L=st.integers(1, 70),
    D=st.integers(1, 140),
    K=st.integers(1, 8),
    reverse=st.booleans(),
    bias=st.booleans(),
)
def test_fuzz(native: str, B: int, L: int, D: int, K: int, reverse: bool, bias: bool) -> None:
    inputs = conv_inputs(B, L, D, K, bias=bias)
    rounded = exact_conv(inputs, reverse=reverse, dtype=torch.float32)
    assert_close(run_conv(inputs, reverse=reverse), exact_conv(inputs, reverse=reverse), rounded=rounded)
