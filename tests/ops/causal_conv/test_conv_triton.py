"""The convolution's Triton kernels at random sizes."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import assert_close, conv_inputs, exact_conv, run_conv


def test_every_kernel_once(triton: str) -> None:
    """Forward and backward."""
    inputs = conv_inputs(2, 20, 13, 4)
    assert_close(run_conv(inputs), exact_conv(inputs))


@pytest.mark.slow
@settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    B=st.integers(1, 2),
    L=st.integers(1, 70),
    D=st.integers(1, 70),
    K=st.integers(1, 8),
    reverse=st.booleans(),
    bias=st.booleans(),
)
def test_fuzz(triton: str, B: int, L: int, D: int, K: int, reverse: bool, bias: bool) -> None:
    inputs = conv_inputs(B, L, D, K, bias=bias)
    assert_close(run_conv(inputs, reverse=reverse), exact_conv(inputs, reverse=reverse))
