"""What a plan says of time: a step is one of training's items, whose length may not be that of what is assessed."""

import io
import shutil
from dataclasses import replace

import pytest
from rich.console import Console

from bakeoff.cli.progress import Show
from bakeoff.execute import estimate
from bakeoff.execute.deadline import left_s
from bakeoff.judging.verdicts import verdict_of
from bakeoff.models.batch import Batch
from bakeoff.protocol.presets import load_protocol
from bakeoff.rundir.directory import RunDir
from bakeoff.trial.events import SoFar
from bakeoff.trial.plan import PlannedBackbone, make_plan


@pytest.mark.parametrize(("preset", "length", "assessed"), [("tracking-quick", 21, 256), ("recall-smoke", 32, 32)])
def test_a_step_is_as_long_as_in_training(
    preset: str, length: int, assessed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(load_protocol(preset, ["seeds=[0]", "sweep=none", "training.lr=1e-3", "bar.samples=1000"]))

    def probe(planned: PlannedBackbone, whole: Batch) -> tuple[float, float, float]:
        assert whole.x is not None and whole.x.shape == (64, length)
        return 0.0, 0.001, 0.0

    monkeypatch.setattr(estimate, "_probe", probe)
    for one in estimate.estimate(plan)["backbones"].values():
        assert one["trial_s"] == pytest.approx(estimate.TRIAL_OVERHEAD_S + assessed / length, abs=0.06)


def test_what_is_left_is_judged_by_what_is_done_and_told_beside_the_verdict_so_far(run: RunDir) -> None:
    walls = {trial.backbone: trial.measurement().wall_s for trial in run.trials()}
    whole = verdict_of(run)
    assert left_s(run, "cpu") == 0
    shutil.rmtree(run.trial("hybrid", 0).path)
    left = left_s(run, "cpu")
    assert left == max(walls["mamba"], walls["transformer"]) and left_s(run, "cuda") == 0
    out = io.StringIO()
    after_a_seed = replace(whole, outcome="incomplete", so_far=whole)
    Show(Console(file=out, width=200), "text")("", SoFar(after_a_seed, 90.0 * 60))
    assert out.getvalue().startswith("so far: all eliminated") and "(about 1.5 h to go)" in out.getvalue()
