"""Formats: older documents become the present one without being touched, newer ones are refused, digests stay."""

import copy
from typing import Any

import pytest

from bakeoff.errors import BakeoffError
from bakeoff.protocol.formats import ADDED, FORMAT, MOVED, Moved, upgrade, upgrade_inputs, without_added
from bakeoff.protocol.presets import load_protocol, parse_protocol
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sections.rule import Rule

OLD = {"name": "x", "judge": {"samples": 64, "frechet": 500.0}, "rule": {"loss_margin": 0.2, "sigma": 0.1}}


def test_a_document_of_format_1_gets_the_keys_of_format_2_and_stays_as_it_is() -> None:
    before = copy.deepcopy(OLD)
    assert upgrade(OLD) == {
        "format": 2,
        "name": "x",
        "bar": {"samples": 64, "thresholds": {"frechet": 500.0, "recognised": 0.80, "classes": 8}},
        "rule": {"quality_margin": 0.2, "sigma": 0.1},
    }
    assert before == OLD and upgrade(upgrade(OLD)) == upgrade(OLD)


def test_without_a_number_new_keys_are_taken_for_the_present_format() -> None:
    new = {"name": "x", "bar": {"samples": 64}}
    assert upgrade(new) == {"format": FORMAT, **new}
    mixed = {"bar": {"thresholds": {"frechet": 1.0}}, "rule": {"loss_margin": 0.2}}
    assert upgrade(mixed) == {
        "format": FORMAT,
        "bar": {"thresholds": {"frechet": 1.0}},
        "rule": {"quality_margin": 0.2},
    }


@pytest.mark.parametrize(
    "document,said",
    [
        ({"format": 3}, "made by a newer bakeoff; this one reads up to format 2"),
        ({"format": "2"}, "allowed: 1 to 2"),
        ({"format": True}, "allowed: 1 to 2"),
        ({"format": 2, **OLD}, "judge.samples is called bar.samples since format 2"),
        ({"rule": {"loss_margin": 0.1, "quality_margin": 0.2}}, "are one key; give rule.quality_margin only"),
        ({"judge": {"samples": 3}, "bar": 3}, "bar is a value, not a section"),
    ],
)
def test_what_cannot_be_upgraded_is_named(document: dict[str, Any], said: str) -> None:
    with pytest.raises(BakeoffError, match=said):
        upgrade(document)


def test_a_line_in_the_table_moves_a_key_between_sections_or_gives_what_was_meant() -> None:
    moved = (Moved("training.times", "objective.times", "uniform"), Moved("task.name", "task.kind"))
    document = {"task": {"name": "mnist", "side": 28}, "training": {"times": "logit-normal", "lr": 0.1}}
    assert upgrade(document, moved) == {
        "format": 2,
        "task": {"side": 28, "kind": "mnist"},
        "training": {"lr": 0.1},
        "objective": {"times": "logit-normal"},
    }
    without = {"task": {"name": "mnist"}, "training": {"lr": 0.1}}
    assert upgrade(without, moved)["objective"] == {"times": "uniform"}


def test_no_key_is_moved_twice_or_to_a_place_that_is_itself_old() -> None:
    old, new = [one.old for one in MOVED], [one.new for one in MOVED]
    assert len({*old}) == len(old) and len({*new}) == len(new) and not {*old} & {*new}


def test_keys_that_were_added_later_are_left_out_while_they_hold_their_default() -> None:
    """On a made-up list: a field, a field of every member of a list, and sections, which are written out whole."""
    added = {"training.decay": "all", "backbones.objective": "", "probe": {"rounds": 3}, "extra": {"a": 1, "b": 2}}

    def document(decay: str, objective: str, rounds: int, extra: dict[str, int]) -> dict[str, Any]:
        backbones = [{"name": "a", "objective": ""}, {"name": "b", "objective": objective}]
        return {
            "training": {"lr": 0.1, "decay": decay},
            "backbones": backbones,
            "probe": {"rounds": rounds},
            "extra": extra,
        }

    older = {"training": {"lr": 0.1}, "backbones": [{"name": "a"}, {"name": "b"}]}
    assert without_added(document("all", "", 3, {"a": 1, "b": 2}), added) == older
    changed = without_added(document("matrices", "flow", 4, {"a": 2, "b": 2}), added)
    assert changed == {
        "training": {"lr": 0.1, "decay": "matrices"},
        "backbones": [{"name": "a"}, {"name": "b", "objective": "flow"}],
        "probe": {"rounds": 4},
        "extra": {"a": 2, "b": 2},
    }


def test_every_added_key_is_a_key_of_the_protocol_with_that_default() -> None:
    """And so the documents of format 2 that were written before it still have the same digest."""
    own = 'backbones.0.objective={kind="flow", condition_dropout=0.1}'
    sampled = "backbones.0.sampling={steps=5}"
    protocol = load_protocol("smoke", ["training.lr=none", "sweep={values=[1e-3, 2e-3, 3e-3], seed=9}", own, sampled])
    for key, default in ADDED.items():
        *sections, last = key.split(".")
        node: Any = protocol.model_dump(mode="json")
        written: Any = protocol.document()
        for part in sections:
            node, written = node[part], written.get(part, {})
            node = node[0] if isinstance(node, list) else node
            written = written[0] if isinstance(written, list) else written
        assert node[last] == default and last not in written, key


def test_a_protocol_built_in_python_decides_on_the_evidence_that_a_file_would() -> None:
    document = load_protocol("smoke").model_dump()
    for seeds, evidence in ((0,), "point"), ((0, 1), "seeds"):
        rule = {key: value for key, value in document["rule"].items() if key != "evidence"}
        built = Protocol.model_validate(document | {"seeds": seeds, "rule": rule})
        assert built.rule.evidence == evidence
        assert Protocol.model_validate(document | {"seeds": seeds, "rule": Rule()}).rule.evidence == evidence
        said = Protocol.model_validate(document | {"seeds": seeds, "rule": Rule(evidence="point")})
        assert said.rule.evidence == "point"
    bare = {key: value for key, value in document.items() if key != "rule"} | {"seeds": (0, 1, 2)}
    assert Protocol.model_validate(bare).rule.evidence == "seeds"
    assert parse_protocol(load_protocol("smoke").document(), "x").rule.evidence == "point"


def test_inputs_of_format_1_become_names() -> None:
    assert upgrade_inputs({"data": {"images": "1"}, "judge": "2", "codec": "3"}) == {
        "images": "1",
        "judge": "2",
        "codec": "3",
    }
    assert upgrade_inputs({"images": "1"}) == {"images": "1"} and upgrade_inputs(3) == 3
