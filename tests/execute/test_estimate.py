"""What a plan says of time: a step is one of training's items, whose length may not be that of what is assessed."""

import pytest

from bakeoff.execute import estimate
from bakeoff.models.batch import Batch
from bakeoff.protocol.presets import load_protocol
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
