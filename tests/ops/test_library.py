"""The operations together under torch.compile."""

import torch
from oracle import conv_inputs, scan_inputs

from bakeoff.ops import causal_conv, selective_scan

B, L, D, N, K = 2, 16, 10, 5, 4


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
