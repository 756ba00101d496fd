"""Verdicts of a run whose rule decides within groups: today all backbones share one objective, and so one group."""

from pathlib import Path

from bakeoff.judging.verdicts import verdict_of
from bakeoff.protocol.verdict import headline
from bakeoff.run.directory import RunDir

SEALED = Path(__file__).parents[1] / "golden" / "format1"


def test_the_group_is_named_after_the_objective_and_decided_like_the_whole() -> None:
    run = RunDir.open(SEALED)
    whole = verdict_of(run)
    rule = run.protocol.rule.model_copy(update={"groups": "objective"})
    grouped = verdict_of(RunDir(SEALED, run.protocol.model_copy(update={"rule": rule}), run.sealed))
    assert grouped.outcome == "grouped" and list(grouped.groups) == ["flow"]
    assert (grouped.groups["flow"].outcome, grouped.groups["flow"].winner) == (whole.outcome, whole.winner)
    assert headline(grouped).startswith("by groups: flow: ")
