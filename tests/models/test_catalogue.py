"""The backbones that ship: written out in full and built; as much attention as their sources say."""

import json
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from bakeoff.cli import app
from bakeoff.errors import BakeoffError
from bakeoff.models.backbones import mixer_class
from bakeoff.models.contract import check_mixer
from bakeoff.models.mixers import Attention, Mamba, Mamba2, Mamba3, Mlp
from bakeoff.models.parallel import Parallel
from bakeoff.protocol.catalogue import catalogue
from bakeoff.protocol.presets import dump_protocol, load_protocol, parse_protocol
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sections.mixers import Backbone
from bakeoff.trial.candidate import candidates

NAMES = tuple(catalogue())
# source 003 and the papers: branches of attention, of a state space model and of an MLP in the smallest whole unit
PUBLISHED = {
    "mamba": (0, 8, 0),
    "mamba2": (0, 8, 0),
    "mamba3": (0, 4, 4),
    "mamba3-mimo": (0, 4, 4),
    "transformer": (4, 0, 4),
    "transformer-modern": (4, 0, 4),
    "jamba": (1, 7, 8),
    "nemotron-h": (1, 6, 6),
    "mamba3-hybrid": (1, 5, 6),
    "hymba": (4, 4, 4),
    "falcon-h1": (4, 4, 4),
}


def taken(*names: str, **keys: Any) -> Protocol:
    backbones = [{"from": name, **keys} for name in names]
    document = load_protocol("smoke").document()
    return parse_protocol({**document, "backbones": backbones, "budget": {"params": 150_000, "tolerance": 2}}, "test")


def built(protocol: Protocol) -> dict[str, list[Any]]:
    made = {}
    for one in candidates(protocol):
        mixers = [branch.mixer for branch in one.blueprint.build(one.blueprint.nominal()).residual_branches()]
        made[one.backbone.name] = [
            part for mixer in mixers for part in (mixer.mixers if isinstance(mixer, Parallel) else [mixer])
        ]
    return made


def test_every_entry_has_the_layers_of_its_source() -> None:
    counted = {
        name: tuple(
            sum(isinstance(one, kinds) for one in mixers) for kinds in (Attention, (Mamba, Mamba2, Mamba3), Mlp)
        )
        for name, mixers in built(taken(*NAMES)).items()
    }
    assert counted == PUBLISHED
    nemotron = [name for name in catalogue()["nemotron-h"].backbone.names for _ in range(4)]
    assert len(nemotron) == 52 and sum(catalogue_kind(name) == "attention" for name in nemotron) == 4


def catalogue_kind(name: str) -> str:
    versions = {key: one["kind"] for entry in catalogue().values() for key, one in entry.versions.items()}
    return versions.get(name, name)


def test_options_come_along() -> None:
    made = built(taken("transformer-modern", "mamba3-mimo", "mamba3-hybrid", "hymba"))
    attention, mlp = made["transformer-modern"][:2]
    assert attention.rope and attention.grid == (7, 7) and attention.q_norm is not None
    assert mlp.gate is not None
    assert made["mamba3-mimo"][0].rank == 4 and made["mamba3-hybrid"][0].norm is not None
    assert made["hymba"][1].kv_heads == 1 and made["hymba"][1].grid == (7, 7)


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_and_is_written_out(name: str) -> None:
    """Every parameter gets a gradient; the resolved protocol says all and needs no catalogue."""
    protocol = taken(name)
    assert parse_protocol(json.loads(json.dumps(protocol.document())), "again").digest() == protocol.digest()
    assert "from" not in dump_protocol(protocol).replace("from_", "")
    (candidate,) = candidates(protocol)
    model = candidate.blueprint.build(candidate.blueprint.fit().widths)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    x, labels = torch.randn(2, 49, 4), torch.zeros(2, dtype=torch.int64)
    given = labels if candidate.task.space.classes else None
    model(x, torch.rand(2), given).square().sum().backward()
    without = [key for key, one in model.named_parameters() if one.grad is None or not one.grad.any()]
    assert not without


def test_keys_beside_it_win() -> None:
    protocol = taken("jamba", name="two", repeats=4, attention_every=2)
    (one,) = protocol.backbones
    assert one.name == "two" and one.layers == ("mamba", "swiglu", "attention", "swiglu") * 2
    changed = load_protocol(
        "smoke", ['backbones=[{from = "mamba3-mimo"}]', "mixers.mimo.rank=2", "mixers.mimo.d_state=8"]
    )
    assert changed.mixers.options()["mimo"]["rank"] == 2 and changed.mixers.options()["mimo"]["d_state"] == 8
    assert changed.mixers.kinds == {"mimo": "mamba3", "swiglu": "mlp"}


def test_a_name_that_is_none_is_said() -> None:
    with pytest.raises(BakeoffError, match=r"backbones.0.from = jambo: no such backbone .did you mean jamba"):
        load_protocol("smoke", ['backbones=[{from = "jambo"}]'])
    with pytest.raises(BakeoffError, match="no such backbone"):
        load_protocol("smoke", ["backbones=[{from = 3}]"])
    with pytest.raises(BakeoffError, match="unknown key"):
        load_protocol("smoke", ['backbones=[{from = "jamba", depth = 3}]'])


@pytest.mark.parametrize(
    ("every", "repeats", "at"), [(1, 3, [0, 1, 2]), (2, 5, [1, 3]), (8, 8, [4]), (8, 16, [4, 12]), (7, 4, [3])]
)
def test_attention_stands_in_the_middle_of_so_many_repeats(every: int, repeats: int, at: list[int]) -> None:
    """Jamba's block of eight has its attention at index 4."""
    one = Backbone(name="a", mixers=("mamba", "mlp"), repeats=repeats, attention_every=every)
    assert [i for i in range(repeats) if one.layers[2 * i] == "attention"] == at
    assert one.layers[1::2] == ("mlp",) * repeats


def test_attention_that_would_stand_nowhere_is_refused() -> None:
    with pytest.raises(BakeoffError, match="up to 7"):
        taken("jamba", repeats=4)


@pytest.mark.parametrize("name", [one for one in NAMES if catalogue()[one].versions])
def test_versions_keep_the_contract(name: str) -> None:
    for version in catalogue()[name].versions.values():
        options = {key: value for key, value in version.items() if key != "kind"}
        assert all(clause.passed for clause in check_mixer(mixer_class(version["kind"]), options))


def test_the_list_says_where_each_is_from() -> None:
    shown = CliRunner().invoke(app, ["ls", "--backbones", "--json"])
    listed = json.loads(shown.stdout)["backbones"]
    assert [one["name"] for one in listed] == list(NAMES)
    assert all(one["source"].startswith("https://arxiv.org/abs/") and one["about"] for one in listed)
    table = CliRunner().invoke(app, ["ls", "--backbones"], env={"COLUMNS": "200"}).stdout
    assert all(name in table for name in NAMES) and "8 x [mamba, swiglu], attention in 1 of 8" in table
