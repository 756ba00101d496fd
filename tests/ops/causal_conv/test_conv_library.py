"""The convolution registered with torch.library: fakes, autograd, FLOP counts."""

import pytest
import torch
from oracle import assert_close, conv_inputs, exact_conv, gradients, leaves
from torch.library import opcheck
from torch.utils.flop_counter import FlopCounterMode

from bakeoff.ops import causal_conv
from bakeoff.ops.causal_conv import library

B, L, D, K = 2, 16, 10, 4


@pytest.mark.parametrize("bias", [True, False])
def test_opcheck(compiled: str, bias: bool) -> None:
    x = leaves(conv_inputs(B, L, D, K, bias=bias))
    opcheck(library.causal_conv, (*x.values(), True, False))
    plain = list(conv_inputs(B, L, D, K, bias=bias).values())
    opcheck(library.causal_conv_backward, (*plain, True, False, torch.ones(B, L, D)))


def test_the_operator_agrees_with_float64(compiled: str) -> None:
    inputs = conv_inputs(B, L, D, K)
    x = leaves(inputs)
    got = gradients((library.causal_conv(*x.values(), True, True),), x)
    assert_close(got, exact_conv(inputs, reverse=True))


def test_flops_are_counted(compiled: str) -> None:
    x = leaves(conv_inputs(B, L, D, K))
    with FlopCounterMode(display=False) as counter:
        causal_conv(**x).sum().backward()  # type: ignore[arg-type]
    assert counter.get_total_flops() == 3 * 2 * B * L * D * K


def test_the_operator_refuses_second_derivatives(compiled: str) -> None:
    x = leaves(conv_inputs(B, L, D, K))
    y = library.causal_conv(*x.values(), True, False)
    (first,) = torch.autograd.grad(y.square().sum(), x["x_BLD"], create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        first.sum().backward()
