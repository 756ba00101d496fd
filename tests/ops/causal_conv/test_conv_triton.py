"""The convolution's Triton kernels at random sizes."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import assert_close, conv_inputs, exact_conv, run_conv


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
