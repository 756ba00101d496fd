"""The speed pass: after training, alone on the machine, all candidates interleaved. It decides speed.

Times taken while trials train are not comparable: the machine's speed drifts. Here every round times one
step of each backbone in turn, so that a slow minute slows all of them.
"""

import time

import torch

from bakeoff.run.directory import RunDir
from bakeoff.tasks.digits import DigitsTask, TrainingSet, derived_seed
from bakeoff.trial.checkpoint import load_model
from bakeoff.trial.meters import StepClock, load_average, spread
from bakeoff.trial.plan import make_plan
from bakeoff.trial.trainer import REPORT_STEPS, Trainer

WARM_UP = 2  # of the sampler: the first call compiles its kernels, the second may capture it
MOST_ROUNDS, FEWEST_ROUNDS = 100, 5
SECONDS = 30.0
SAMPLING_ROUNDS = 3


def measure_speed(
    run: RunDir,
    task: DigitsTask,
    data: TrainingSet,
) -> dict:
    """Forward + backward of one training batch, and sampling of the shown grid, for every backbone.

    The weights are those that the first seed's trials have trained, where they did not diverge. Rounds stop after
    100, or after half a minute when at least five are done.

    Returns:
        the content of `speed.json`: for every backbone the spread of both, in milliseconds and seconds.
    """
    plan, protocol, device = make_plan(run.protocol), run.protocol, data.x_NLC.device
    seed = protocol.seeds[0]
    trainers = {
        planned.backbone.name: Trainer(task, planned.backbone, planned.fit.widths, seed, data)
        for planned in plan.backbones
    }
    for name, trainer in trainers.items():
        trained = run.trial(name, seed).model
        if trained.is_file():
            trainer.model.load_state_dict(load_model(trained).model.state_dict())
    load_before, clocks = load_average(), {name: StepClock(device) for name in trainers}
    times: dict[str, list[float]] = {name: [] for name in trainers}
    started, rounds = time.monotonic(), 0
    while rounds < MOST_ROUNDS + WARM_UP and (rounds < FEWEST_ROUNDS + WARM_UP or time.monotonic() - started < SECONDS):
        for name, trainer in trainers.items():
            trainer.time_step(clocks[name])
        rounds += 1
        if rounds % REPORT_STEPS == 0:  # as in training: a GPU that is waited for after each step idles in the next
            for name, clock in clocks.items():
                times[name] += clock.drain()
    times = {name: (taken + clocks[name].drain())[WARM_UP:] for name, taken in times.items()}

    count = protocol.sampling.count
    noise_BLC, labels_B = (
        task.starting_noise(count, derived_seed("speed", seed) % 2**31),
        task.sample_labels(count),
    )
    sampling: dict[str, list[float]] = {name: [] for name in trainers}
    nfe = {}
    for trainer in trainers.values():
        trainer.model.eval()
    for turn in range(WARM_UP + SAMPLING_ROUNDS):
        for name, trainer in trainers.items():
            with clocks[name]():
                trajectory = task.sample(trainer.model, noise_BLC, labels_B, protocol.sampling)
            taken, nfe[name] = clocks[name].drain(), trajectory.nfe
            if turn >= WARM_UP:
                sampling[name] += [milliseconds / 1000 for milliseconds in taken]
    return {
        "device": str(device),
        "threads": torch.get_num_threads(),
        "batch": protocol.training.batch,
        "samples": count,
        "rounds": rounds - WARM_UP,
        "load_average_before": load_before,
        "backbones": {
            name: {
                "step_time_ms": step.model_dump() if (step := spread(times[name])) else None,
                "sampling_time_s": sampled.model_dump() if (sampled := spread(sampling[name])) else None,
                "nfe": nfe[name],
            }
            for name in trainers
        },
    }
