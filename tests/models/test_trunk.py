"""The trunk: it leaves the mixers' initialisation alone, and conditions all of them alike."""

import re

import pytest
import torch

from bakeoff.codecs.pixel import PixelCodec
from bakeoff.errors import BakeoffError
from bakeoff.models.backbones import build_mixers
from bakeoff.models.conditioning import ModulatedNorm
from bakeoff.models.mixers import Mamba
from bakeoff.models.trunk import Frame, Trunk
from bakeoff.protocol.presets import load_protocol, preset_names
from bakeoff.protocol.space import Space
from bakeoff.trial.plan import make_plan

LAYERS = ("mamba", "attention", "mlp", "mamba")
WIDTHS = {"mamba": 40, "attention": 32, "mlp": 64}


def mixers(order="raster"):
    return build_mixers(LAYERS, 32, WIDTHS, {"mamba": {"d_state": 8}}, order)


def frame(conditioning="adaln", positions="sinusoidal", classes=10, **others) -> Frame:
    return Frame(Space(49, channels=4, classes=classes, **others), 32, positions, conditioning, out=4)


def model(conditioning="adaln", positions="sinusoidal", classes=10, order="raster") -> Trunk:
    return Trunk(frame(conditioning, positions, classes), mixers(order))


@pytest.mark.parametrize("conditioning", ["adaln", "adaln-single", "head"])
def test_the_trunk_changes_no_initial_value_of_a_mixer(conditioning) -> None:
    torch.manual_seed(0)
    built = mixers()
    before = [{name: p.clone() for name, p in mixer.named_parameters()} for mixer in built]
    wrapped = Trunk(frame(conditioning, "learned"), built)
    for mixer, branch, initial in zip(built, wrapped.branches, before, strict=True):
        assert branch.mixer is mixer
        for name, parameter in mixer.named_parameters():
            assert torch.equal(parameter, initial[name]), name


@pytest.mark.parametrize("conditioning", ["adaln", "adaln-single"])
def test_adaln_starts_as_the_zero_velocity_and_identity_branches(conditioning) -> None:
    x, t = torch.randn(3, 49, 4), torch.rand(3)
    net = model(conditioning)
    assert torch.equal(net(x, t, torch.tensor([0, 5, 10])), torch.zeros_like(x))
    h, c = torch.randn(3, 49, 32), torch.randn(3, 32)
    assert torch.equal(net.branches[0](h, net.for_branches(c)), h)
    net(x, t).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_one_map_of_the_condition_for_all_branches_is_adaln_with_equal_maps() -> None:
    """With equal maps in every branch of adaLN, and no values of the branches' own, both are one function."""
    single, every = wake(model("adaln-single")), wake(model("adaln"))
    assert single.modulation is not None
    for branch in single.residual_branches():
        torch.nn.init.zeros_(branch.bias)  # type: ignore[union-attr]
    state = {name: p for name, p in single.state_dict().items() if not re.search(r"branches.\d+.bias", name)}
    weight, bias = state.pop("modulation.weight"), state.pop("modulation.bias")
    for i in range(len(every.branches)):
        state |= {f"branches.{i}.modulation.weight": weight, f"branches.{i}.modulation.bias": bias}
    every.load_state_dict(state)
    given = torch.randn(3, 49, 4), torch.rand(3), torch.tensor([0, 5, 10])
    torch.testing.assert_close(single(*given), every(*given))
    branches, D = len(every.branches), 32
    assert every.parameter_count() - single.parameter_count() == (branches - 1) * 3 * D * D - 3 * D
    assert every.flops() - single.flops() == (branches - 1) * 2 * 3 * D * D


def test_branches_add_values_of_their_own_to_the_one_map() -> None:
    net = wake(model("adaln-single"))
    given = torch.randn(2, 49, 4), torch.rand(2), torch.tensor([1, 2])
    before = net(*given)
    net.branches[1].bias.data += 1.0  # type: ignore[union-attr]
    assert not torch.allclose(net(*given), before)


def wake(net: Trunk) -> Trunk:
    """Move the zero-initialised parameters, as training would."""
    g = torch.Generator().manual_seed(5)
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=g)
    return net.eval()


@pytest.mark.parametrize("conditioning", ["adaln", "adaln-single", "head"])
def test_time_and_class_matter(conditioning) -> None:
    net, x = wake(model(conditioning)), torch.randn(1, 49, 4)
    at = net(x, torch.tensor([0.2]), torch.tensor([3]))
    assert not torch.allclose(at, net(x, torch.tensor([0.8]), torch.tensor([3])))
    assert not torch.allclose(at, net(x, torch.tensor([0.2]), torch.tensor([4])))
    none = net(x, torch.tensor([0.2]), None)
    assert torch.equal(none, net(x, torch.tensor([0.2]), torch.tensor([10])))


def test_in_head_conditioning_the_backbone_is_blind_to_time() -> None:
    net, x = wake(model("head")), torch.randn(1, 49, 4)
    seen = []
    net.branches[-1].register_forward_hook(lambda *call: seen.append(call[2]))
    net(x, torch.tensor([0.1]))
    net(x, torch.tensor([0.9]))
    assert torch.equal(seen[0], seen[1])


def test_without_positions_attention_cannot_tell_order() -> None:
    def transformer(positions):
        built = build_mixers(("attention", "mlp"), 32, WIDTHS, {}, "raster")
        return wake(Trunk(frame("adaln", positions, 0), built))

    x, t, order = torch.randn(1, 49, 4), torch.tensor([0.4]), torch.randperm(49)
    blind, seeing = transformer("none"), transformer("sinusoidal")
    torch.testing.assert_close(blind(x[:, order], t), blind(x, t)[:, order], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(seeing(x[:, order], t), seeing(x, t)[:, order], atol=1e-3)


@pytest.mark.parametrize(
    "order,directions",
    [
        ("raster", [(False,), (False,)]),
        ("reverse", [(True,), (True,)]),
        ("alternating", [(False,), (True,)]),
        ("bidirectional", [(False, True), (False, True)]),
    ],
)
def test_token_order_reaches_the_directional_mixers(order, directions) -> None:
    found = [mixer.directions for mixer in mixers(order) if isinstance(mixer, Mamba)]
    assert found == directions


@pytest.mark.parametrize("name", preset_names())
def test_planned_counts_are_those_of_the_models(name: str) -> None:
    plan = make_plan(load_protocol(name))
    for planned in plan.backbones:
        net = planned.candidate.blueprint.build(planned.fit.widths)
        assert sum(p.numel() for p in net.parameters()) == planned.fit.params
        assert net.flops() == planned.flops_per_sample
    counts = [planned.fit.params for planned in plan.backbones]
    assert max(counts) / min(counts) <= plan.protocol.budget.tolerance <= 1.12


@pytest.mark.parametrize("patch", [1, 2, 4, 7, 14, 28])
def test_pixel_codec_is_exact(patch: int) -> None:
    codec, images = PixelCodec(patch, 28), torch.randn(2, 1, 28, 28)
    x_BLC = codec.encode(images)
    assert x_BLC.shape == (2, codec.space.length, codec.space.channels)
    assert torch.equal(codec.decode(x_BLC), images)


@pytest.mark.parametrize("conditioning", ["adaln", "adaln-single", "head"])
@pytest.mark.parametrize("classes", [0, 10])
def test_every_norm_is_of_the_kind_that_is_asked_for(conditioning, classes) -> None:
    """RMSNorm's formula, and a model of the same size less the shifts of its norms."""
    space = Space(9, channels=4, classes=classes)
    layer, rms = (
        Trunk(Frame(space, 32, "learned", conditioning, out=4, times=int(classes > 0), norm=norm), mixers())
        for norm in ("layer", "rms")
    )
    own = [module for name, module in rms.named_modules() if name.endswith("norm") and ".mixer." not in name]
    modulated = classes > 0 and conditioning != "head"
    assert len(own) == 5 and all(isinstance(one, ModulatedNorm if modulated else torch.nn.RMSNorm) for one in own)
    norms = [one for one in layer.modules() if isinstance(one, torch.nn.LayerNorm)]
    shifts = sum(one.bias.numel() for one in norms if one.bias is not None)
    assert layer.parameter_count() - rms.parameter_count() == shifts
    x = torch.randn(2, 9, 32)
    given = (torch.ones(2, 1, 32), torch.zeros(2, 1, 32)) if modulated else ()
    torch.testing.assert_close(own[0](x, *given), x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt())
    labels = torch.tensor([1, 2]) if classes else None
    assert rms(torch.randn(2, 9, 4), torch.rand(2) if classes else None, labels).shape == (2, 9, 4)


def test_a_bottleneck_embeds_by_two_maps() -> None:
    space = Space(49, channels=12)
    narrow = Trunk(Frame(space, 32, "none", "adaln", out=4, bottleneck=3), mixers())
    wide = Trunk(Frame(space, 32, "none", "adaln", out=4), mixers())
    assert isinstance(narrow.embed, torch.nn.Sequential)
    x = torch.randn(2, 49, 12)
    down, up = (one.weight for one in narrow.embed)
    torch.testing.assert_close(narrow.embedded(x), x @ (up @ down).T + narrow.embed[1].bias)
    assert wide.parameter_count() - narrow.parameter_count() == 12 * 32 - 3 * (12 + 32)
    assert wide.flops() - narrow.flops() == 2 * 49 * (12 * 32 - 3 * (12 + 32))


def test_symbols_have_no_bottleneck() -> None:
    with pytest.raises(BakeoffError, match="symbols"):
        Trunk(Frame(Space(7, vocabulary=5), 32, "none", "adaln", out=5, bottleneck=3), mixers())


def with_class_tokens(at: int, order="bidirectional") -> Trunk:
    built = build_mixers(LAYERS, 32, WIDTHS, {"mamba": {"d_state": 8}}, order, class_tokens=(3, at), grid=(7, 7))
    space = Space(49, channels=4, classes=10, grid=(7, 7))
    return wake(Trunk(Frame(space, 32, "none", "adaln", 4, class_tokens=3, class_tokens_at=at), built))


@pytest.mark.parametrize("order", ["raster", "reverse", "bidirectional", "cross"])
@pytest.mark.parametrize("at", [0, 2, 3])
def test_class_tokens_tell_every_token_the_class(at, order) -> None:
    """By the tokens alone: the branches' condition is taken away, and in each order all tokens still see the class."""
    net = with_class_tokens(at, order)
    x, t = torch.randn(2, 49, 4), torch.rand(2)
    table = net.condition.label.weight.data.clone()
    net.condition.forward = lambda x, t_B, labels_B: torch.zeros(len(x), 32)  # type: ignore[method-assign]
    given = net(x, t, torch.tensor([1, 2]))
    assert given.shape == x.shape
    assert ((net(x, t, torch.tensor([3, 2])) - given).abs().amax(-1) > 1e-7).all(1).tolist() == [True, False]
    assert torch.equal(net(x, t), net(x, t, torch.tensor([10, 10])))
    net.condition.label.weight.data.copy_(table[[3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]])
    torch.testing.assert_close(net(x, t, torch.tensor([0, 2]))[0], net(x, t, torch.tensor([3, 2]))[0])


def test_class_tokens_cost_what_they_add() -> None:
    none, late, early = (with_class_tokens(at) for at in (0, 2, 3))
    counts = {one.parameter_count() for one in (none, late, early)}
    assert counts == {wake(model(positions="none", order="bidirectional")).parameter_count() + 3 * 32}
    assert none.flops() > late.flops() > early.flops() > model(positions="none", order="bidirectional").flops()


def test_class_tokens_need_labels_and_a_branch() -> None:
    for classes, at, said in ((0, 0, "no labels"), (10, 4, "4 branches")):
        space = Space(49, channels=4, classes=classes)
        with pytest.raises(BakeoffError, match=said):
            Trunk(Frame(space, 32, "none", "adaln", 4, class_tokens=3, class_tokens_at=at), mixers())
