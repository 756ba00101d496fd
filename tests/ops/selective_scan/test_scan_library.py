"""The scan registered with torch.library: fakes, autograd, FLOP counts, torch.compile."""

import pytest
import torch
from oracle import assert_close, exact_scan, gradients, leaves, scan_inputs
from torch.library import opcheck
from torch.utils.flop_counter import FlopCounterMode

from bakeoff.ops import selective_scan
from bakeoff.ops.selective_scan import library

B, L, D, N = 2, 16, 10, 5
OPTIONS = [(True, True, False, True), (False, True, True, False)]


@pytest.mark.parametrize(("optional", "softplus", "reverse", "final"), OPTIONS)
def test_opcheck(compiled: str, optional: bool, softplus: bool, reverse: bool, final: bool) -> None:
    x = leaves(scan_inputs(B, L, D, N, optional=optional))
    opcheck(library.selective_scan, (*x.values(), softplus, reverse, final))


@pytest.mark.parametrize(("optional", "softplus", "reverse", "final"), OPTIONS)
def test_opcheck_backward(compiled: str, optional: bool, softplus: bool, reverse: bool, final: bool) -> None:
    x = list(scan_inputs(B, L, D, N, optional=optional).values())
    y, end, states, ungated = library.selective_scan(*x, softplus, reverse, final)
    rest = softplus, reverse, states, ungated, torch.ones_like(y), end
    opcheck(library.selective_scan_backward, (*x, *rest))


def test_the_operator_agrees_with_float64(compiled: str) -> None:
    inputs = scan_inputs(B, L, D, N)
    x = leaves(inputs)
    got = gradients(library.scan(*x.values(), True, True, True), x)
    assert_close(got, exact_scan(inputs, reverse=True))


def test_flops_are_counted(compiled: str) -> None:
    x = leaves(scan_inputs(B, L, D, N))
    with FlopCounterMode(display=False) as counter:
        y = selective_scan(**x)  # type: ignore[arg-type]
        assert counter.get_total_flops() == 9 * B * L * D * N
        y.sum().backward()
    assert counter.get_total_flops() == 3 * 9 * B * L * D * N


def test_the_operator_refuses_second_derivatives(compiled: str) -> None:
    x = leaves(scan_inputs(B, L, D, N))
    y, _ = library.scan(*x.values(), True, False, False)
    (first,) = torch.autograd.grad(y.square().sum(), x["u_BLD"], create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        first.sum().backward()


def test_compiled_gradients_are_the_eager_ones(compiled: str) -> None:
    inputs = scan_inputs(B, L, D, N)
    compiled = torch.compile(selective_scan, backend="aot_eager", fullgraph=True)
    x, eager = leaves(inputs), leaves(inputs)
    got = gradients(compiled(**x, return_final_state=True, reverse=True), x)
    expected = gradients(selective_scan(**eager, return_final_state=True, reverse=True), eager)  # type: ignore[arg-type]
    for name, value in expected.items():
        assert torch.equal(got[name], value), name
