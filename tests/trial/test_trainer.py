"""Training: the same data, noise and times for all, resumable bit for bit, divergence seen, precisions run."""

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from bakeoff.protocol.presets import load_protocol
from bakeoff.tasks import Dataset, build_task
from bakeoff.tasks.base import Finite
from bakeoff.trial.meters import spread, trend
from bakeoff.trial.plan import make_plan
from bakeoff.trial.trainer import OPTIMISER_ON_DEVICE, Trainer
from bakeoff.trial.worker import account
from tiers import slow

CPU = torch.device("cpu")
SMALL = ["task.train_images=200", "training.batch=64", "training.steps=20"]


@pytest.fixture(scope="module")
def data() -> Dataset:
    data = build_task(load_protocol("smoke", SMALL)).data(CPU)
    assert data is not None
    return data


def trainers(data: Dataset, *overrides: str) -> dict[str, Trainer]:
    plan = make_plan(load_protocol("smoke", [*SMALL, *overrides]))
    return {one.backbone.name: Trainer(one.candidate, one.fit.widths, 0, data, CPU) for one in plan.backbones}


def go_on(step: int, losses: list[float]) -> None:
    pass


def after(steps: int) -> Callable[[], bool]:
    """Says stop once that many steps are done."""
    left = iter(range(steps - 1, -1, -1))
    return lambda: next(left) == 0


def test_all_backbones_of_a_seed_see_the_same_noise_times_and_images(data: Dataset) -> None:
    seen: dict[str, list[tuple]] = {}
    for name, trainer in trainers(data).items():
        calls = seen.setdefault(name, [])
        trainer.model.register_forward_pre_hook(lambda _, inputs, calls=calls: calls.append(inputs))
        trainer.run(go_on, after(6))
    mamba, *others = seen.values()
    assert len(mamba) == 6
    for calls in others:
        for ours, theirs in zip(mamba, calls, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                assert (a is None and b is None) or torch.equal(a, b)
    hidden = torch.cat([hidden for *_, hidden in mamba])
    assert 0 < hidden.double().mean() < 0.3  # some are hidden: the preset's dropout is 0.1
    times = torch.cat([t for _, t, *_ in mamba])
    assert len(times.unique()) == len(times)


def test_every_epoch_visits_every_image_once_and_keeps_the_last_batch(data: Dataset) -> None:
    assert isinstance(data, Finite)
    for epoch in range(2):
        batches = [data.indices(0, 4 * epoch + step) for step in range(4)]
        assert (
            [len(batch) for batch in batches] == [data.size(4 * epoch + step) for step in range(4)] == [64, 64, 64, 8]
        )
        assert sorted(torch.cat(batches).tolist()) == list(range(200))
    assert not torch.equal(data.indices(0, 0), data.indices(0, 4))
    assert not torch.equal(data.indices(0, 0), data.indices(1, 0))
    whole, batch = data.whole(), data.batch(0, 3)
    assert batch.x is not None and whole.x is not None and batch.labels_B is not None and whole.labels_B is not None
    assert torch.equal(batch.x, whole.x[data.indices(0, 3)]) and batch.items() == 8
    assert torch.equal(batch.labels_B, whole.labels_B[data.indices(0, 3)])


@pytest.mark.parametrize("steps", [7, slow(1), slow(10)])
@pytest.mark.parametrize("name", ["hybrid", slow("mamba"), slow("transformer")])
@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_restored_training_ends_bit_for_bit_alike(data: Dataset, name: str, steps: int, optimiser: str) -> None:
    recipe = "training.ema=0.9", f"training.optimiser={optimiser}"
    whole = trainers(data, *recipe)[name]
    assert whole.run(go_on)
    stopped = trainers(data, *recipe)[name]
    assert not stopped.run(go_on, after(steps)) and stopped.step == steps
    state = copy.deepcopy(stopped.state())
    resumed = trainers(data, *recipe)[name]
    resumed.restore(state)
    assert resumed.run(go_on)
    assert torch.equal(whole.losses, resumed.losses)
    for trainer in (whole, resumed):
        trainer.use_average()
    for mine, other in zip(whole.parameters, resumed.parameters, strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("precision", ["bf16", slow("fp32"), slow("fp16")])
def test_every_precision_learns(data: Dataset, precision: str) -> None:
    for trainer in trainers(data, f"training.precision={precision}").values():
        assert trainer.run(go_on) and trainer.diverged_at is None
        assert trainer.losses[-5:].mean() < trainer.losses[:5].mean()


def test_divergence_ends_the_trial_at_the_first_loss_that_is_not_finite(data: Dataset) -> None:
    trainer = trainers(data, "training.precision=fp16", "training.lr=1.0")["mamba"]
    assert trainer.run(go_on)
    assert trainer.diverged_at is not None
    assert trainer.losses[: trainer.diverged_at].isfinite().all()
    assert not math.isfinite(trainer.losses[trainer.diverged_at])
    assert trainer.step < trainer.total or trainer.diverged_at >= trainer.total - 10


def test_final_loss_counts_every_image_of_the_last_epoch_once(data: Dataset) -> None:
    trainer = trainers(data)["mamba"]  # five epochs of the batches 64 64 64 8
    trainer.losses.copy_(torch.arange(20.0))
    assert trainer.final_loss() == pytest.approx((64 * (16 + 17 + 18) + 8 * 19) / 200)
    longer = trainers(data, "training.steps=40")["mamba"]
    longer.losses.copy_(torch.arange(40.0))
    assert longer.final_loss() == pytest.approx((64 * (36 + 37 + 38) + 8 * 39) / 200)


@pytest.mark.parametrize(("steps", "expected"), [(1, 0), (2, 1), (6, 5), (12, (64 * 10 + 8 * 11) / 72)])
def test_final_loss_of_a_short_training_is_that_of_its_last_fifth(data: Dataset, steps: int, expected: float) -> None:
    """The first steps of the only epoch say how fast a backbone learns, not what it has learnt."""
    trainer = trainers(data, f"training.steps={steps}")["mamba"]
    trainer.losses.copy_(torch.arange(float(steps)))
    assert trainer.final_loss() == pytest.approx(expected)


def test_learning_rate_schedule(data: Dataset) -> None:
    trainer = trainers(data, "training.warmup=4", "training.schedule=cosine", "training.lr=0.01")["mamba"]
    rates = [trainer.learning_rate(step) for step in range(20)]
    assert rates[0] == pytest.approx(0.01 / 4)
    assert max(rates) <= 0.01 and rates[10] == pytest.approx(0.005)
    assert rates[4:] == sorted(rates[4:], reverse=True) and rates[-1] > 0
    constant = trainers(data)["mamba"]
    assert {constant.learning_rate(step) for step in range(20)} == {constant.protocol.training.lr}


def test_samples_do_not_depend_on_how_many_are_drawn(data: Dataset) -> None:
    trainer = trainers(data)["transformer"]
    trainer.run(go_on)
    task, generator = trainer.candidate.task, trainer.candidate.generator(trainer.model)
    few, many = (
        task.items(generator(task.prompts(n), trainer.protocol.sampling, 5).x, task.prompts(n)).arrays["images"]
        for n in (3, 9)
    )
    assert np.abs(few.astype(int) - many[:3].astype(int)).max() <= 1  # one grey level: products of other shapes


def test_weight_decay_may_leave_alone_what_a_mixer_names_and_norms_and_biases(data: Dataset) -> None:
    recipe = ["training.weight_decay=1.0", "training.lr=0.01", "training.steps=1", "model.conditioning=head"]
    (all_, weights) = (trainers(data, f"training.decay={which}", *recipe)["hybrid"] for which in ("all", "weights"))
    assert [len(one.param_groups) for one in all_.optimiser.parts] == [1]
    decayed, spared = (group["params"] for group in weights.optimiser.parts[0].param_groups)
    names = {id(p): name for name, p in weights.model.named_parameters()}
    left_alone = {names[id(p)].rpartition(".")[2] for p in spared}
    assert left_alone >= {"A_log", "dt_bias", "D", "conv_bias", "bias"} and "conv_weight" not in left_alone
    assert {names[id(p)] for p in spared} >= {name for name in names.values() if ".norm." in name}
    assert len(decayed) + len(spared) == len(all_.parameters) and all(p.dim() >= 2 for p in decayed)
    before = {name: p.clone() for name, p in all_.model.named_parameters()}
    for trainer in (all_, weights):
        trainer.run(go_on)
    shrunk = all_.learning_rate(0) * 1.0  # AdamW multiplies by 1 - lr * decay before its step
    for name, p in weights.model.named_parameters():
        other = dict(all_.model.named_parameters())[name]
        expected = other + shrunk * before[name] if any(p is one for one in spared) else other
        torch.testing.assert_close(p, expected, atol=1e-6, rtol=1e-5)


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
