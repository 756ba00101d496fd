"""A context is read first in every order, a hidden one is a learned null, and a causal trunk reads no later token."""

import pytest
import torch
from torch import Tensor

from bakeoff.models.backbones import Order, build_mixers
from bakeoff.models.mixers import Mamba
from bakeoff.models.order import ContextFirst
from bakeoff.models.trunk import Frame, Trunk
from bakeoff.protocol.space import Space

K, L, D = 3, 7, 16
WIDTHS = {"mamba": 24, "attention": 16, "mlp": 32}
OPTIONS = {"mamba": {"d_state": 4}, "attention": {"heads": 2}}


def trunk(layers: tuple[str, ...], order: Order = "raster", causal: bool = False) -> Trunk:
    torch.manual_seed(0)
    mixers = build_mixers(layers, D, WIDTHS, OPTIONS, order, causal=causal, context=K)
    space = Space(L, channels=2, context=K, context_channels=4)
    made = Trunk(Frame(space, D, "sinusoidal", "adaln", out=2), mixers)
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return made.eval()


def given(B: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(B, L, 2, generator=g), torch.rand(B, generator=g), torch.randn(B, K, 4, generator=g)


@pytest.mark.parametrize("order", ["raster", "reverse", "alternating", "bidirectional"])
def test_every_token_sees_the_context_in_every_order(order: Order) -> None:
    net, (x, t, context) = trunk(("mamba", "mamba"), order), given()
    changed = net(x, t, None, context + torch.tensor([0.0, 1.0, 0.0, 0.0])) - net(x, t, None, context)
    assert (changed.abs().amax((0, 2)) > 1e-6).all()


def test_both_directions_are_the_sum_of_each_with_the_same_weights() -> None:
    """The bidirectional kernel without a context is the oracle: with K = 0 both must agree."""
    torch.manual_seed(3)
    both = Mamba(D, 24, d_state=4, direction="both")
    forward = Mamba(D, 24, d_state=4, direction="forward")
    forward.load_state_dict(both.state_dict())
    x = torch.randn(2, L, D)
    torch.testing.assert_close(ContextFirst(forward, "both", 0, D)(x), both(x), atol=1e-5, rtol=1e-4)
    backward = Mamba(D, 24, d_state=4, direction="reverse")
    backward.load_state_dict(both.state_dict())
    torch.testing.assert_close(ContextFirst(forward, "reverse", 0, D)(x), backward(x), atol=1e-5, rtol=1e-4)


def test_a_hidden_context_is_the_null_and_no_context_hides_all() -> None:
    net, (x, t, context) = trunk(("mamba", "attention")), given()
    none = net(x, t)
    assert torch.equal(net(x, t, None, context, torch.tensor([True, True])), none)
    mixed = net(x, t, None, context, torch.tensor([True, False]))
    torch.testing.assert_close(mixed[0], none[0])
    torch.testing.assert_close(mixed[1], net(x, t, None, context)[1])
    assert not torch.allclose(mixed[1], none[1])


@pytest.mark.parametrize("layers", [("mamba", "mlp"), ("attention", "mlp"), ("mamba", "attention")])
@pytest.mark.parametrize("order", ["raster", "bidirectional"])
def test_under_a_causal_objective_no_token_sees_a_later_one(layers: tuple[str, ...], order: Order) -> None:
    net, (x, t, context) = trunk(layers, order, causal=True), given()
    later = x.clone()
    later[:, 4:] += 1.0
    before, after = net(x, t, None, context), net(later, t, None, context)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_symbols_are_embedded_and_an_unconditioned_trunk_has_a_plain_head() -> None:
    space = Space(L, vocabulary=11)
    mixers = build_mixers(("attention",), D, WIDTHS, OPTIONS, "raster", causal=True)
    net = Trunk(Frame(space, D, "learned", "adaln", out=11, times=0, symbols=1), mixers)
    assert net(torch.randint(12, (2, L))).shape == (2, L, 11)
    assert net.condition.flops() == 0 and not any("modulation" in name for name in net.state_dict())
    assert net.flops() > 0
