"""The operators registered with torch.library: fakes, autograd, FLOP counts, torch.compile."""

import pytest
import torch
from oracle import assert_close, conv_inputs, exact_conv, exact_scan, gradients, leaves, scan_inputs
from torch.library import opcheck
from torch.utils.flop_counter import FlopCounterMode

from bakeoff.ops import causal_conv, selective_scan

library = pytest.importorskip("bakeoff.ops.library")

B, L, D, N, K = 2, 16, 10, 5, 4
OPTIONS = [(True, True, False, True), (False, True, True, False)]


@pytest.mark.parametrize(("optional", "softplus", "reverse", "final"), OPTIONS)
def test_opcheck_scan(compiled: str, optional: bool, softplus: bool, reverse: bool, final: bool) -> None:
    x = leaves(scan_inputs(B, L, D, N, optional=optional))
    opcheck(library.selective_scan, (*x.values(), softplus, reverse, final))


@pytest.mark.parametrize(("optional", "softplus", "reverse", "final"), OPTIONS)
def test_opcheck_scan_backward(compiled: str, optional: bool, softplus: bool, reverse: bool, final: bool) -> None:
    x = list(scan_inputs(B, L, D, N, optional=optional).values())
    y, end, states, ungated = library.selective_scan(*x, softplus, reverse, final)
    rest = softplus, reverse, states, ungated, torch.ones_like(y), end
    opcheck(library.selective_scan_backward, (*x, *rest))


@pytest.mark.parametrize("bias", [True, False])
def test_opcheck_conv(compiled: str, bias: bool) -> None:
    x = leaves(conv_inputs(B, L, D, K, bias=bias))
    opcheck(library.causal_conv, (*x.values(), True, False))
    plain = list(conv_inputs(B, L, D, K, bias=bias).values())
    opcheck(library.causal_conv_backward, (*plain, True, False, torch.ones(B, L, D)))


def test_operators_agree_with_float64(compiled: str) -> None:
    inputs = scan_inputs(B, L, D, N)
    x = leaves(inputs)
    got = gradients(library.scan(*x.values(), True, True, True), x)
    assert_close(got, exact_scan(inputs, reverse=True))
    inputs = conv_inputs(B, L, D, K)
    x = leaves(inputs)
    got = gradients((library.causal_conv(*x.values(), True, True),), x)
    assert_close(got, exact_conv(inputs, reverse=True))


def test_flops_are_counted(compiled: str) -> None:
    scan, conv = leaves(scan_inputs(B, L, D, N)), leaves(conv_inputs(B, L, D, K))
    with FlopCounterMode(display=False) as counter:
        selective_scan(**scan)  # type: ignore[arg-type]
    assert counter.get_total_flops() == 9 * B * L * D * N
    with FlopCounterMode(display=False) as counter:
        causal_conv(**conv).sum().backward()  # type: ignore[arg-type]
    assert counter.get_total_flops() == 3 * 2 * B * L * D * K


def test_the_operators_refuse_second_derivatives(compiled: str) -> None:
    x = leaves(scan_inputs(B, L, D, N))
    y, _ = library.scan(*x.values(), True, False, False)
    (first,) = torch.autograd.grad(y.square().sum(), x["u_BLD"], create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        first.sum().backward()


def test_traces_without_a_graph_break(compiled: str) -> None:
    """The graph holds the registered operators, each once."""
    x, weight = scan_inputs(B, L, D, N), conv_inputs(B, L, D, K)["weight_DK"]
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    def block(u: torch.Tensor) -> torch.Tensor:
        return selective_scan(causal_conv(u, weight), *list(x.values())[1:5])

    compiled = torch.compile(block, backend=keep, fullgraph=True)
    u = x["u_BLD"].requires_grad_()
    torch.testing.assert_close(compiled(u), block(u))
    assert sum("bakeoff" in str(node.target) for node in graphs[0].graph.nodes) == 2


def test_compiled_gradients_are_the_eager_ones(compiled: str) -> None:
    inputs = scan_inputs(B, L, D, N)
    compiled = torch.compile(selective_scan, backend="aot_eager", fullgraph=True)
    x, eager = leaves(inputs), leaves(inputs)
    got = gradients(compiled(**x, return_final_state=True, reverse=True), x)
    expected = gradients(selective_scan(**eager, return_final_state=True, reverse=True), eager)  # type: ignore[arg-type]
    for name, value in expected.items():
        assert torch.equal(got[name], value), name
