"""Plug-ins: named, registered, refused without leave, checked against the contract."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bakeoff.errors import BakeoffError
from bakeoff.models import costs
from bakeoff.models.backbones import mixer_class
from bakeoff.models.contract import check_mixer
from bakeoff.protocol.presets import load_protocol
from bakeoff.registry import MIXERS, load_plugins, plugins_allowed, register_mixer
from bakeoff.trial.plan import make_plan, plan_json

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Plug-ins may be loaded from a fresh folder; registered names are forgotten afterwards."""
    monkeypatch.setattr(MIXERS, "_known", dict(MIXERS._known))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    with plugins_allowed():
        yield tmp_path


class Averaging(nn.Module):
    """A mixer that states nothing: every token becomes the mean of all."""

    def __init__(self, d_model: int, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(d_model, width), nn.Linear(width, d_model)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.down(self.up(x_BLD).mean(1, keepdim=True).expand(-1, x_BLD.shape[1], -1))


def test_plugin_code_is_not_loaded_without_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, "gated_recurrence", raising=False)
    with pytest.raises(BakeoffError, match="--allow-plugins"):
        mixer_class("gated_recurrence:GatedRecurrence")
    with pytest.raises(BakeoffError, match="--allow-plugins"):
        load_plugins(["gated_recurrence"])
    assert "gated_recurrence" not in sys.modules


def test_the_leave_is_of_one_thread_and_ends_with_its_block(allowed: Path) -> None:
    def ask(said: list[str]) -> None:
        try:
            said.append(mixer_class("gated_recurrence:GatedRecurrence").__name__)
        except BakeoffError as error:
            said.append(str(error))

    here, heard = sys.path.copy(), []
    other = threading.Thread(target=ask, args=(heard,))
    other.start()
    other.join()
    ask(heard)
    assert "--allow-plugins" in heard[0] and heard[1] == "GatedRecurrence"
    with plugins_allowed(), plugins_allowed(False):
        ask(heard)
    assert heard[2] == "GatedRecurrence" and sys.path == here


def test_what_only_this_process_knows_is_refused_before_a_trial_has_to_find_it(
    allowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_mixer("elsewhere")(type("Elsewhere", (Averaging,), {"__module__": "my_mixers"}))
    with pytest.raises(BakeoffError, match=r'my_mixers registers in this process.*plugins = \["my_mixers"\]'):
        load_protocol("smoke", ['backbones.0.mixers=["elsewhere", "mlp"]'])
    in_a_cell = type("InACell", (Averaging,), {"__module__": "__main__"})
    register_mixer("inacell")(in_a_cell)
    refused = r'notebook that is running.*Put the class into a file.*"mine:Class"'
    for name in ("inacell", "__main__:InACell"):
        sets = [f'backbones.0.mixers=["{name}", "mlp"]']
        with pytest.raises(BakeoffError, match=refused):
            load_protocol("smoke", sets)
        with pytest.raises(BakeoffError, match=refused):
            make_plan(load_protocol("smoke", ['plugins=["json"]', *sets]))  # a module that does not register it
    in_a_file = type("InAFile", (Averaging,), {"__module__": "my_mixers"})
    register_mixer("inacell")(in_a_file)  # the same class, moved to a file, takes its place; not the other way round
    assert mixer_class("inacell") is in_a_file
    with pytest.raises(BakeoffError, match="belongs to"):
        register_mixer("inacell")(in_a_cell)


def test_names_are_explained(allowed: Path) -> None:
    with pytest.raises(BakeoffError, match="did you mean mamba"):
        mixer_class("mambo")
    with pytest.raises(BakeoffError, match="did you mean GatedRecurrence"):
        mixer_class("gated_recurrence:GatedRecurence")
    with pytest.raises(BakeoffError, match="cannot be loaded: ModuleNotFoundError"):
        mixer_class("no_such_module:Mixer")
    with pytest.raises(BakeoffError, match=r"is no torch.nn.Module class"):
        mixer_class("json:JSONDecoder")
    (allowed / "broken_plugin.py").write_text("1 / 0")
    with pytest.raises(BakeoffError, match="ZeroDivisionError"):
        mixer_class("broken_plugin:Mixer")


def test_a_registered_mixer_joins_by_its_name(allowed: Path) -> None:
    (allowed / "my_mixers.py").write_text(
        "from torch import nn\n"
        "from bakeoff.registry import register_mixer\n"
        "@register_mixer('pointwise')\n"
        "class Pointwise(nn.Linear):\n"
        "    width_name = None\n"
        "    def __init__(self, d_model, width, *, bias=True):\n"
        "        super().__init__(d_model, d_model, bias=bias)\n"
    )
    sets = ['plugins=["my_mixers"]', 'backbones.0.mixers=["pointwise", "mlp"]', "mixers.pointwise.bias=false"]
    protocol = load_protocol("smoke", sets)
    plan = make_plan(protocol)
    net = plan.of("mamba").candidate.blueprint.build(plan.of("mamba").fit.widths)
    assert type(net.branches[0].mixer).__name__ == "Pointwise" and net.branches[0].mixer.bias is None
    with pytest.raises(BakeoffError, match="belongs to"):
        register_mixer("pointwise")(Averaging)


def test_wrong_options_are_named(allowed: Path) -> None:
    sets = ['backbones.0.mixers=["gated_recurrence:GatedRecurrence"]']
    with pytest.raises(BakeoffError, match="options of a mixer that is not used"):
        load_protocol("smoke", ["mixers.other.x=1"])
    with pytest.raises(BakeoffError, match=r"cannot be built from .*unexpected keyword argument 'wrong'"):
        make_plan(load_protocol("smoke", [*sets, 'mixers={"gated_recurrence:GatedRecurrence"={wrong=1}}']))


def test_costs_that_are_not_stated_are_measured_and_marked(allowed: Path) -> None:
    mixer = Averaging(32, 48)
    assert costs.unstated(Averaging) == ("flops", "state_bytes")
    assert costs.flops(mixer, 7, 32) == 2 * 7 * 32 * 48 * 2
    assert costs.state_bytes(mixer, 7, 32) == 7 * 32 * 4
    register_mixer("averaging")(Averaging)
    sets = ['plugins=["json"]', 'backbones.0.mixers=["averaging", "mlp"]']
    plan = plan_json(make_plan(load_protocol("smoke", sets)), None)
    assert [one["measured"] for one in plan["backbones"]] == [["flops", "state_bytes"], [], []]


@pytest.mark.parametrize(
    "name", ["mamba", "mamba2", "mamba3", "attention", "mlp", "gru", "conv", "gated_recurrence:GatedRecurrence"]
)
def test_ours_and_the_example_keep_the_contract(allowed: Path, name: str) -> None:
    checks = check_mixer(mixer_class(name), {})
    timed = {"a step takes no longer where the state does not grow"}  # by the clock, so not here
    assert len(checks) == 15 and [check for check in checks if not check.passed and check.name not in timed] == []


class NotAMixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()


class Shrinking(Averaging):
    def forward(self, x_BLD: Tensor) -> Tensor:
        return super().forward(x_BLD)[:, :-1]


class Unused(Averaging):
    def __init__(self, d_model: int, width: int) -> None:
        super().__init__(d_model, width)
        self.idle = nn.Parameter(torch.zeros(width))


class Random(Averaging):
    def forward(self, x_BLD: Tensor) -> Tensor:
        return super().forward(x_BLD) + torch.rand(())


class Remembering(Averaging):
    calls = 0

    def forward(self, x_BLD: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x_BLD) * self.calls


class BatchNormed(Averaging):
    def forward(self, x_BLD: Tensor) -> Tensor:
        return super().forward(x_BLD - x_BLD.mean(0))


class Resetting(Averaging):
    def forward(self, x_BLD: Tensor) -> Tensor:
        nn.init.zeros_(self.up.weight)
        return super().forward(x_BLD)


class Narrow(Averaging):
    def __init__(self, d_model: int, width: int) -> None:
        super().__init__(d_model, 8)


class Dear(Averaging):
    def flops(self, L: int) -> float:
        return 1.5 * L


class Misnaming(Averaging):
    matrices = ("w1.weight",)


class NamingABias(Averaging):
    matrices = ("up.bias",)


class Infinite(Averaging):
    def forward(self, x_BLD: Tensor) -> Tensor:
        return super().forward(x_BLD) / 0


BROKEN = {
    NotAMixer: "is built from",
    Shrinking: "maps (B, L, D)",
    Unused: "get a finite gradient",
    Random: "same seed gives the same",
    Remembering: "second call",
    BatchNormed: "samples of a batch",
    Resetting: "left alone",
    Narrow: "the width widens it",
    Dear: "flops(L)",
    Misnaming: "names its matrices",
    NamingABias: "names its matrices",
    Infinite: "maps (B, L, D)",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_every_breach_is_found_and_named(kind: type[nn.Module]) -> None:
    failed = [check.name for check in check_mixer(kind, {}) if not check.passed]
    assert any(BROKEN[kind] in name for name in failed)
