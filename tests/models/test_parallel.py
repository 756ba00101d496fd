"""Mixers side by side: what they give, what they cost, how they go on, and what a protocol says of them."""

import tomllib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bakeoff.errors import BakeoffError
from bakeoff.models.batch import Batch
from bakeoff.models.mixers import Attention, Mamba, Mamba2, Mlp
from bakeoff.models.parallel import Parallel
from bakeoff.protocol.presets import dump_protocol, load_protocol, parse_protocol
from bakeoff.trial.plan import make_plan, plan_json

PAIR = 'backbones.2={name = "pair", mixers = [["mamba", "attention"], "mlp"]}'


def pair(combine: Any, causal: bool = True) -> Parallel:
    torch.manual_seed(0)
    built = Parallel([Mamba(16, 24, d_state=4), Attention(16, 16, causal=causal)], 16, combine)
    if built.scales is not None:
        nn.init.uniform_(built.scales, 0.5, 1.5)
    return built


def normed(y: Tensor) -> Tensor:
    return y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def test_the_sum_and_the_mean_are_their_formulas() -> None:
    x_BLD = torch.randn(2, 9, 16)
    summed, mean = pair("sum"), pair("mean")
    a, m = (mixer(x_BLD) for mixer in summed.mixers)
    torch.testing.assert_close(summed(x_BLD), a + m)
    assert mean.scales is not None and mean.out_proj is not None
    a, m = (mixer(x_BLD) for mixer in mean.mixers)
    expected = mean.out_proj((mean.scales[0] * normed(a) + mean.scales[1] * normed(m)) / 2)
    torch.testing.assert_close(mean(x_BLD), expected, rtol=1e-5, atol=1e-5)
    assert sum(one.numel() for one in mean.parameters()) - sum(one.numel() for one in summed.parameters()) == 16 * 18


@pytest.mark.parametrize("combine", ["sum", "mean"])
def test_it_costs_what_its_mixers_cost_and_goes_on_as_they_do(combine: str) -> None:
    both = pair(combine)
    of_mixers = sum(one.flops(9) for one in both.mixers)  # pyright: ignore[reportCallIssue]
    assert both.flops(9) - of_mixers == (0 if combine == "sum" else 2 * 9 * 16 * 16)
    assert both.state_bytes(9) == sum(one.state_bytes(9) for one in both.mixers)  # pyright: ignore[reportCallIssue]
    x_BLD = torch.randn(2, 9, 16)
    state, ys = both.start(2), []
    y, state = both.prefill(x_BLD[:, :4], state)
    ys.append(y)
    for t in range(4, 9):
        y_BD, state = both.step(x_BLD[:, t], state)
        ys.append(y_BD.unsqueeze(1))
    torch.testing.assert_close(torch.cat(ys, 1), both(x_BLD), rtol=1e-5, atol=1e-5)


def test_a_protocol_names_them_in_a_list() -> None:
    protocol = load_protocol("smoke", [PAIR, "backbones.2.combine=mean"])
    backbone = protocol.backbones[2]
    assert backbone.layers == (("mamba", "attention"), "mlp") and backbone.names == ("mamba", "attention", "mlp")
    again = parse_protocol(tomllib.loads(dump_protocol(protocol)), "again")
    assert again.digest() == protocol.digest() != load_protocol("smoke", [PAIR]).digest()
    assert "combine" not in load_protocol("smoke").document()["backbones"][0]
    planned = make_plan(protocol).backbones[2]
    model = planned.candidate.blueprint.build(planned.fit.widths)
    first, second = (branch.mixer for branch in model.residual_branches())
    assert isinstance(first, Parallel) and isinstance(second, Mlp) and first.out_proj is not None
    assert [type(one) for one in first.mixers] == [Mamba, Attention]
    assert sum(one.numel() for one in model.parameters()) == planned.fit.params
    assert plan_json(make_plan(protocol), None)["backbones"][2]["layers"] == [("mamba", "attention"), "mlp"]


def test_a_causal_trunk_of_them_reads_on() -> None:
    sets = ['backbones.2={name = "pair", mixers = [["mamba2", "attention"]]}', "budget.tolerance=2"]
    planned = make_plan(load_protocol("recall-smoke", sets)).backbones[2]
    model = planned.candidate.blueprint.build(planned.fit.widths).eval()
    nn.init.normal_(model.head.out.weight)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    x_BL = torch.randint(32, (3, 32))
    reader = model.reader(Batch(size=3))
    assert reader is not None and any(isinstance(one, Mamba2) for one in model.modules())
    parts = [reader.read(x_BL[:, :7]), *(reader.read(x_BL[:, t : t + 1]) for t in range(7, 32))]
    torch.testing.assert_close(torch.cat(parts, 1), model(x_BL), rtol=1e-4, atol=1e-4)


def test_one_that_cannot_go_on_is_named() -> None:
    class Silent(nn.Module):
        pass

    from bakeoff.models.reader import unable

    both = Parallel([Mamba(16, 24), Silent()], 16, "sum")
    assert unable([both]) == "Silent: no start and prefill, so it cannot go on token by token"


@pytest.mark.parametrize(
    ("mixers", "said"),
    [
        ('[["mamba"]]', "backbones.2.mixers"),
        ('[["mamba", "attenton"]]', "did you mean attention"),
        ("[[]]", "backbones.2.mixers"),
        ('[["mamba", 3]]', "backbones.2.mixers"),
    ],
)
def test_what_is_no_layer_is_refused(mixers: str, said: str) -> None:
    with pytest.raises(BakeoffError, match=said):
        load_protocol("smoke", [f"backbones.2.mixers={mixers}"])
