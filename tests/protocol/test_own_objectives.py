"""Backbones with an objective and a sampling of their own: what the protocol makes of them, and what it refuses."""

import pytest

from bakeoff.errors import BakeoffError
from bakeoff.protocol.presets import load_protocol
from bakeoff.trial.candidate import candidates
from bakeoff.trial.plan import lint_plan, make_plan

OWN = 'backbones.0.objective={kind = "flow", times = "logit-normal", condition_dropout = 0.1}'
SAMPLED = "backbones.0.sampling={steps = 3, guidance = 2.0}"
BY_FIGURE = ["rule.quality=frechet"]


def test_a_backbone_without_its_own_changes_nothing() -> None:
    plain = load_protocol("smoke")
    assert all(plain.of(backbone) is plain for backbone in plain.backbones)
    assert set(plain.groups().values()) == {"flow"}
    assert "objective" not in plain.document()["backbones"][0]


def test_each_candidate_is_built_with_its_own() -> None:
    protocol = load_protocol("smoke", [OWN, SAMPLED, *BY_FIGURE])
    mine, *others = candidates(protocol)
    assert mine.objective.law.kind == "logit-normal"  # pyright: ignore[reportAttributeAccessIssue]
    assert {one.objective.law.kind for one in others} == {"uniform"}  # pyright: ignore[reportAttributeAccessIssue]
    assert (mine.protocol.sampling.steps, others[0].protocol.sampling.steps) == (3, 5)  # pyright: ignore[reportAttributeAccessIssue]
    assert mine.protocol.sampling.count == protocol.sampling.count
    assert mine.task.protocol is others[0].task.protocol is protocol
    groups = protocol.groups()
    assert len(set(groups.values())) == 2 and groups["transformer"] == groups["hybrid"]
    assert all(name.startswith("flow ") for name in groups.values())
    assert protocol.digest() != load_protocol("smoke", BY_FIGURE).digest()


def test_losses_of_different_objectives_are_not_compared() -> None:
    def errors(*changes: str) -> list[str]:
        found = lint_plan(make_plan(load_protocol("smoke", [OWN, *changes])))
        return [one.message for one in found if one.check == "objectives" and one.level == "error"]

    (message,) = errors()
    assert "losses of different objectives" in message and "rule.groups" in message
    assert not errors("rule.groups=objective") and not errors(*BY_FIGURE)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (['backbones.0.objective={kind = "autoregressive"}'], "allowed with objective autoregressive: decoding"),
        (['backbones.0.objective={kind = "flow"}'], "needs a model that has seen no label"),
        (['backbones.0.sampling={kind = "decoding"}'], "allowed with objective flow: solver"),
        (['backbones.0.objective={kind = "flwo"}'], "unknown objective"),
        (["backbones.0.sampling={stps = 3}"], "did you mean steps"),
    ],
)
def test_what_does_not_fit_is_refused(changes: list[str], said: str) -> None:
    with pytest.raises(BakeoffError, match=said):
        load_protocol("smoke", changes)


def test_objectives_of_one_kind_are_named_by_what_differs() -> None:
    protocol = load_protocol("objectives-quick")
    named = dict.fromkeys(protocol.groups().values())
    assert len(named) == 6 and "flow prediction epsilon, loss_space epsilon" in named
    assert set(load_protocol("smoke", ['objective={kind="ddpm", condition_dropout=0.1}']).groups().values()) == {"ddpm"}


@pytest.mark.parametrize(("prediction", "space"), [("epsilon", "epsilon"), ("v", "v"), ("data", "data")])
def test_diffusions_loss_is_that_of_its_prediction_unless_another_is_asked_for(prediction: str, space: str) -> None:
    objective = f'objective={{kind="ddpm", condition_dropout=0.1, prediction="{prediction}"'
    assert load_protocol("smoke", [objective + "}"]).objective.loss_space == space  # pyright: ignore
    asked = load_protocol("smoke", [objective + ', loss_space="velocity"}'])
    assert asked.objective.loss_space == "velocity"  # pyright: ignore
    assert load_protocol("smoke", [objective + "}"]).document()["objective"]["loss_space"] == space


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["sampling.solver=ancestral"], "they are of objective ddpm"),
        (["sampling.solver=ddim", "sampling.eta=0.5"], "they are of objective ddpm"),
        (["sampling.eta=0.5"], 'eta = 0.5 is of solver = "ddim"'),
        (["sampling.guidance_from=0.9", "sampling.guidance_to=0.2"], "allowed: from below to"),
        (["sampling.solver=rk4"], "sampling.solver"),
        (['objective={kind="ddpm", times="logit-normal"}'], "objective.times"),
    ],
)
def test_samplers_that_do_not_fit_are_refused(changes: list[str], said: str) -> None:
    with pytest.raises(BakeoffError, match=said):
        load_protocol("smoke", changes)


def test_a_backbone_of_diffusion_stands_beside_one_of_flow() -> None:
    own = 'backbones.0.objective={kind="ddpm", condition_dropout=0.1}'
    protocol = load_protocol("smoke", [own, 'backbones.0.sampling={solver="ancestral", steps=20}', *BY_FIGURE])
    first, second, _ = candidates(protocol)
    assert type(first.objective).__name__ == "Ddpm" and type(second.objective).__name__ == "Flow"
    assert protocol.of(protocol.backbones[0]).sampling.solver == "ancestral"  # pyright: ignore
