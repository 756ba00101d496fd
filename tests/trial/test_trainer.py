"""Training: the same data, noise and times for all, resumable bit for bit, divergence seen, precisions run."""

import copy
import math
from collections.abc import Callable

import pytest
import torch

from bakeoff.protocol.presets import load_protocol
from bakeoff.tasks import build_task
from bakeoff.tasks.digits import TrainingSet
from bakeoff.trial.meters import spread, trend
from bakeoff.trial.plan import make_plan
from bakeoff.trial.trainer import OPTIMISER_ON_DEVICE, Trainer
from bakeoff.trial.worker import account
from tiers import slow

SMALL = ["task.train_images=200", "training.batch=64", "training.steps=20"]


@pytest.fixture(scope="module")
def data() -> TrainingSet:
    return build_task(load_protocol("smoke", SMALL)).training_set(None, torch.device("cpu"))


def trainers(data: TrainingSet, *overrides: str) -> dict[str, Trainer]:
    protocol = load_protocol("smoke", [*SMALL, *overrides])
    plan, task = make_plan(protocol), build_task(protocol)
    return {b.backbone.name: Trainer(task, b.backbone, b.fit.widths, 0, data) for b in plan.backbones}


def go_on(step: int, losses: list[float]) -> None:
    pass


def after(steps: int) -> Callable[[], bool]:
    """Says stop once that many steps are done."""
    left = iter(range(steps - 1, -1, -1))
    return lambda: next(left) == 0


def test_all_backbones_of_a_seed_see_the_same_noise_times_and_images(data: TrainingSet) -> None:
    seen: dict[str, list[tuple]] = {}
    for name, trainer in trainers(data).items():
        calls = seen.setdefault(name, [])
        trainer.model.register_forward_pre_hook(lambda _, inputs, calls=calls: calls.append(inputs))
        trainer.run(go_on, after(6))
    mamba, *others = seen.values()
    assert len(mamba) == 6
    for calls in others:
        for ours, theirs in zip(mamba, calls, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    labels = torch.cat([labels for _, _, labels in mamba])
    assert 0 < (labels == 10).double().mean() < 0.3  # some are hidden: the preset's dropout is 0.1
    times = torch.cat([t for _, t, _ in mamba])
    assert len(times.unique()) == len(times)


def test_every_epoch_visits_every_image_once_and_keeps_the_last_batch(data: TrainingSet) -> None:
    task = trainers(data)["mamba"].task
    for epoch in range(2):
        batches = [task.batch_indices(0, 4 * epoch + step) for step in range(4)]
        assert [len(batch) for batch in batches] == [64, 64, 64, 8]
        assert sorted(torch.cat(batches).tolist()) == list(range(200))
    assert not torch.equal(task.batch_indices(0, 0), task.batch_indices(0, 4))
    assert not torch.equal(task.batch_indices(0, 0), task.batch_indices(1, 0))


@pytest.mark.parametrize("steps", [7, slow(1), slow(10)])
@pytest.mark.parametrize("name", ["mamba", "transformer", "hybrid"])
def test_a_restored_training_ends_bit_for_bit_alike(data: TrainingSet, name: str, steps: int) -> None:
    whole = trainers(data, "training.ema=0.9")[name]
    assert whole.run(go_on)
    stopped = trainers(data, "training.ema=0.9")[name]
    assert not stopped.run(go_on, after(steps)) and stopped.step == steps
    state = copy.deepcopy(stopped.state())
    resumed = trainers(data, "training.ema=0.9")[name]
    resumed.restore(state)
    assert resumed.run(go_on)
    assert torch.equal(whole.losses, resumed.losses)
    for trainer in (whole, resumed):
        trainer.use_average()
    for mine, other in zip(whole.parameters, resumed.parameters, strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("precision", ["bf16", slow("fp32"), slow("fp16")])
def test_every_precision_learns(data: TrainingSet, precision: str) -> None:
    for trainer in trainers(data, f"training.precision={precision}").values():
        assert trainer.run(go_on) and trainer.diverged_at is None
        assert trainer.losses[-5:].mean() < trainer.losses[:5].mean()


def test_divergence_ends_the_trial_at_the_first_loss_that_is_not_finite(data: TrainingSet) -> None:
    trainer = trainers(data, "training.precision=fp16", "training.lr=1.0")["mamba"]
    assert trainer.run(go_on)
    assert trainer.diverged_at is not None
    assert trainer.losses[: trainer.diverged_at].isfinite().all()
    assert not math.isfinite(trainer.losses[trainer.diverged_at])
    assert trainer.step < trainer.total or trainer.diverged_at >= trainer.total - 10


def test_final_loss_counts_every_image_of_the_last_epoch_once(data: TrainingSet) -> None:
    trainer = trainers(data)["mamba"]
    trainer.losses.copy_(torch.arange(20.0))
    assert trainer.final_loss() == pytest.approx((64 * (16 + 17 + 18) + 8 * 19) / 200)
    part = trainers(data, "training.steps=6")["mamba"]  # an epoch and a half: batches 64 64 64 8, 64 64
    part.losses.copy_(torch.arange(6.0))
    assert part.final_loss() == pytest.approx((64 * 2 + 8 * 3 + 64 * 4 + 64 * 5) / 200)
    less = trainers(data, "training.steps=2")["mamba"]
    less.losses.copy_(torch.arange(2.0))
    assert less.final_loss() == pytest.approx(0.5)


def test_learning_rate_schedule(data: TrainingSet) -> None:
    trainer = trainers(data, "training.warmup=4", "training.schedule=cosine", "training.lr=0.01")["mamba"]
    rates = [trainer.learning_rate(step) for step in range(20)]
    assert rates[0] == pytest.approx(0.01 / 4)
    assert max(rates) <= 0.01 and rates[10] == pytest.approx(0.005)
    assert rates[4:] == sorted(rates[4:], reverse=True) and rates[-1] > 0
    constant = trainers(data)["mamba"]
    assert {constant.learning_rate(step) for step in range(20)} == {constant.protocol.training.lr}


def test_samples_do_not_depend_on_how_many_are_drawn(data: TrainingSet) -> None:
    trainer = trainers(data)["transformer"]
    trainer.run(go_on)
    task, sampling = trainer.task, trainer.protocol.sampling
    few, many = (
        task.images(task.sample(trainer.model, task.starting_noise(n, 5), task.sample_labels(n), sampling).x)
        for n in (3, 9)
    )
    assert (few.int() - many[:3].int()).abs().max() <= 1  # one grey level: products of other shapes


def test_trend_of_a_line_is_exact_and_of_noise_is_within_its_error() -> None:
    slope, error = trend([5 - 0.25 * step / 10 for step in range(40)], 10) or (0.0, 0.0)
    assert slope == pytest.approx(-0.25) and error == pytest.approx(0, abs=1e-9)
    g = torch.Generator().manual_seed(0)
    slopes = [trend(torch.randn(50, generator=g).tolist(), 10) for _ in range(400)]
    beyond = sum(abs(found[0]) > 2 * found[1] for found in slopes if found)
    assert 5 <= beyond <= 40  # about one in twenty
    assert trend([1.0] * 9, 10) is None


def test_unexplained_wall_clock_is_said() -> None:
    step = spread([100.0] * 100)
    accounted = {"forward and backward": 5.0, "rest": 5.0}
    assert account(step, 50, accounted, 10.0, "cpu") == ()
    (note,) = account(step, 50, accounted, 60.0, "cpu")
    assert "60.0 s" in note and "10.0 s" in note
    asynchronous = {"forward and backward": 0.5, "reading losses": 4.5, "rest": 5.0}
    assert account(step, 50, asynchronous, 10.0, "cuda") == ()
    optimising = {"forward and backward": 0.5, "reading losses": 7.0, OPTIMISER_ON_DEVICE: 2.5}
    assert account(step, 50, optimising, 7.5, "cuda") == ()
