"""Verdicts of runs whose rule decides within groups of backbones that share an objective."""

import asyncio
import json
from pathlib import Path

import pytest

from bakeoff.judging.verdicts import verdict_of
from bakeoff.protocol.verdict import headline
from bakeoff.rundir.directory import RunDir
from bakeoff.studio.flows import Flows
from bakeoff.studio.query import query_of
from command import bakeoff

SEALED = Path(__file__).parents[1] / "golden" / "format1"


def test_the_group_is_named_after_the_objective_and_decided_like_the_whole() -> None:
    run = RunDir.open(SEALED)
    whole = verdict_of(run)
    rule = run.protocol.rule.model_copy(update={"groups": "objective"})
    grouped = verdict_of(RunDir(SEALED, run.protocol.model_copy(update={"rule": rule}), run.sealed))
    assert grouped.outcome == "grouped" and list(grouped.groups) == ["flow"]
    assert (grouped.groups["flow"].outcome, grouped.groups["flow"].winner) == (whole.outcome, whole.winner)
    assert headline(grouped).startswith("by groups: flow: ")


SMALL = ("task.train_images=128", "training.steps=3", "bar.samples=16", "sampling.count=16", "rule.groups=objective")
OWN = (
    'backbones=[{name = "mamba", mixers = ["mamba"], repeats = 2, objective = {kind = "flow", times = "logit-normal", '
    "condition_dropout = 0.2}, sampling = {steps = 2, guidance = 1.5}}, "
    '{name = "transformer", mixers = ["attention", "mlp"], repeats = 2}]',
)


@pytest.mark.slow
def test_a_backbone_with_its_own_objective_is_trained_sampled_and_decided_by_itself(tmp_path: Path) -> None:
    sets = [part for change in (*SMALL, *OWN) for part in ("--set", change)]
    done = bakeoff("run", "smoke", *sets, "--threads", 1, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = RunDir.open(tmp_path / "run")
    verdict = json.loads(bakeoff("verdict", "run", "--json", cwd=tmp_path).stdout)
    assert verdict["outcome"] == "grouped" and len(verdict["groups"]) == 2
    evaluations = {one.name: run.trial(one.name, 0).measurement().nfe for one in run.protocol.backbones}
    assert evaluations == {"mamba": 4, "transformer": 10}  # two a step, for guidance
    assert run.medians("nfe")["mamba"] == 4
    assert bakeoff("verify", "run", cwd=tmp_path).returncode == 0
    assert bakeoff("report", "run", cwd=tmp_path).returncode == 0
    flows = Flows()
    replays, missing = flows._begin(run, query_of(run), 1)
    assert not missing and {name: one.steps for name, one in replays.items()} == {"mamba": 2, "transformer": 5}
    asked, _ = flows._begin(run, query_of(run, {"steps": "7"}), 1)
    assert {one.steps for one in asked.values()} == {7}
    frames = [data for name, data in asyncio.run(_events(flows, run)) if name == "frame"]
    flows.close()
    cells = {name: [one["cell"] for one in frames if one["backbone"] == name] for name in evaluations}
    assert {name: len(found) for name, found in cells.items()} == {"mamba": 6, "transformer": 6}
    assert cells["mamba"][2] == cells["mamba"][5] != cells["mamba"][1]  # it stays as it ended
    assert bakeoff("export", "run", "--static", "site", cwd=tmp_path).returncode == 0
    recorded = json.loads(next((tmp_path / "site" / "data").glob("*.json")).read_text())
    last = {data["backbone"]: data["cell"] for name, data in recorded if name == "frame" and data["step"] == 5}
    assert set(last) == {"mamba", "transformer"}


async def _events(flows: Flows, run: RunDir) -> list:
    return [event async for event in flows.stream(run, query_of(run)) if event]
