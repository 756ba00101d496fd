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
