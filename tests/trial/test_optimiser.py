"""Muon for the matrices that mixers name, AdamW for all else: who gets what, and how large a step is."""

import math

import pytest
import torch
from torch import nn

from bakeoff.models.build import matrices
from bakeoff.protocol.schema import Training
from bakeoff.registry import MIXERS
from bakeoff.trial.optimiser import Optimiser

OPTIONS = {"mlp": {"gate": "swiglu"}, "mamba3": {"rank": 2, "out_norm": True}}


def training(**changes: object) -> Training:
    return Training.model_validate({"steps": 10, "lr": 0.01, "weight_decay": 0.0, "optimiser": "muon"} | changes)


@pytest.mark.parametrize("name", MIXERS.built_in)
def test_a_mixer_names_the_weights_of_its_linear_maps_and_no_others(name: str) -> None:
    torch.manual_seed(0)
    mixer = MIXERS.get(name)(32, 64 if name != "attention" else 32, **OPTIONS.get(name, {}))
    linear = {f"{path}.weight" for path, module in mixer.named_modules() if isinstance(module, nn.Linear)}
    linear |= {path for path, _ in mixer.named_parameters() if path.startswith("gru.weight_")}
    named = {id(one) for one in matrices(mixer)}
    assert {path for path, one in mixer.named_parameters() if id(one) in named} == linear and linear


class Mixing(nn.Module):
    """One map that it names, one that it does not, and a parameter of two axes that is no map."""

    matrices = ("named.weight", "absent.weight")

    def __init__(self) -> None:
        super().__init__()
        self.named, self.other = nn.Linear(24, 40, bias=True), nn.Linear(40, 24)
        self.A_log = nn.Parameter(torch.zeros(6, 4))


def stepped(model: nn.Module, recipe: Training) -> dict[str, torch.Tensor]:
    """What one step changes, by name, at the same gradients for all."""
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    g = torch.Generator().manual_seed(1)
    for one in model.parameters():
        one.grad = torch.randn(one.shape, generator=g)
    Optimiser(model, recipe).step(torch.amp.GradScaler("cpu", enabled=False))
    assert all(one.grad is None for one in model.parameters())
    return {name: one.detach() - before[name] for name, one in model.named_parameters()}


def test_only_what_is_named_is_orthogonalised_and_a_step_is_as_large_as_one_of_adamw() -> None:
    torch.manual_seed(0)
    model = Mixing()
    changes = stepped(model, training())
    singular = torch.linalg.svdvals(changes["named.weight"]) / (0.01 * 0.2 * math.sqrt(40))
    assert singular.min() > 0.6 and singular.max() < 1.3  # torch's five iterations leave them about 1
    assert changes["named.weight"].square().mean().sqrt().item() == pytest.approx(0.01 * 0.2, rel=0.2)
    for name in ("named.bias", "other.weight", "other.bias", "A_log"):
        assert changes[name].abs().max().item() == pytest.approx(0.01, rel=1e-3)  # AdamW's first step is lr sign(g)


def test_without_named_matrices_muon_is_adamw() -> None:
    torch.manual_seed(0)
    model, twin = nn.Linear(5, 7), nn.Linear(5, 7)
    twin.load_state_dict(model.state_dict())
    one, other = stepped(model, training()), stepped(twin, training(optimiser="adamw"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("decay", ["all", "weights"])
def test_every_parameter_is_stepped_by_one_optimiser(decay: str) -> None:
    torch.manual_seed(0)
    mixer = MIXERS.get("mamba")(32, 64)
    parts = Optimiser(mixer, training(decay=decay)).parts
    assert [type(one).__name__ for one in parts] == ["Muon", "AdamW"]
    held = [id(p) for part in parts for group in part.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in mixer.parameters())


def test_a_state_of_the_other_optimiser_is_refused() -> None:
    torch.manual_seed(0)
    mixer = MIXERS.get("mlp")(32, 64)
    muon, adamw = Optimiser(mixer, training()), Optimiser(mixer, training(optimiser="adamw"))
    with pytest.raises(ValueError):
        muon.restore(adamw.state())
    with pytest.raises(ValueError):
        adamw.restore(muon.state())
