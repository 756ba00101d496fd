"""What the GPU benchmark measures of training and sampling, a section each, at the study's size.

The package is imported where it is used: what imports Triton reads TRITON_INTERPRET, which `--toy` sets.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmarks.gpu_sections import Bench
from benchmarks.gpu_timing import captured, medians_ms
from benchmarks.row import Row

if TYPE_CHECKING:
    from bakeoff.trial.trainer import Trainer

WARM_UP_STEPS = 3


def trainers(bench: Bench, precision: str) -> Iterator["Trainer"]:
    """One of each backbone, on noise in place of images."""
    from bakeoff.models.batch import stand_in
    from bakeoff.protocol.presets import load_protocol
    from bakeoff.seeding import generator
    from bakeoff.tasks.base import Finite
    from bakeoff.trial.candidate import candidates
    from bakeoff.trial.trainer import Trainer

    protocol = load_protocol(bench.sizes.preset, [*bench.sizes.overrides, f"training.precision={precision}"])
    for candidate in candidates(protocol):
        count = protocol.task.items or protocol.training.batch
        items = stand_in(candidate.task.space, count, generator("benchmark")).to(bench.device)
        data = Finite(items, protocol.training.batch)
        yield Trainer(candidate, candidate.blueprint.fit().widths, 0, data, bench.device)


def _name(trainer: "Trainer") -> str:
    return trainer.candidate.backbone.name


def of_the_study(bench: Bench, trainer: "Trainer") -> bool:
    return bench.sizes.preset == "mnist-paper" and _name(trainer) == "mamba"


def _against_20_ms(name: str, ms: float, bar: bool, detail: str) -> Row:
    """The bar of the study's training step, and of its sampler."""
    return Row(name, ms, "ms", "<= 20" if bar else "", ms <= 20 if bar else None, detail)


def training(bench: Bench) -> Iterator[Row]:
    """One whole training step of each backbone: data, forward, backward, optimiser."""
    for precision in ("bf16", "fp16") if bench.device.type == "cuda" else ("fp32",):
        for trainer in trainers(bench, precision):
            work = partial(_steps, trainer, bench.sizes.steps)
            ms = medians_ms({"step": work}, bench.device, seconds=2.0)["step"] / bench.sizes.steps
            bar = of_the_study(bench, trainer)
            size = f"batch {trainer.protocol.training.batch}, {trainer.candidate.blueprint.frame.tokens} tokens"
            yield _against_20_ms(
                f"step of {_name(trainer)}, {precision}, {size}",
                ms,
                bar,
                f"{trainer.model.parameter_count() / 1e6:.2f} M parameters; mean of {bench.sizes.steps} steps with "
                "the optimiser",
            )


def _steps(trainer: "Trainer", count: int) -> None:
    left = iter(range(count - 1, -1, -1))
    trainer.run(lambda *_: None, lambda: next(left) == 0)


def waiting(bench: Bench) -> Iterator[Row]:
    """Whether the host waits for the device within a step: torch raises where it sees that."""
    if bench.device.type != "cuda":
        yield Row("two steps of which the host waits for none", None, "", detail="needs a CUDA device")
        return
    for trainer in trainers(bench, "fp16"):
        for _ in range(WARM_UP_STEPS):
            trainer.one_step()
        before, seen = torch.cuda.get_sync_debug_mode(), ""
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(2):
                trainer.one_step()
        except RuntimeError as error:
            seen = str(error).splitlines()[0][:300]
        finally:
            torch.cuda.set_sync_debug_mode(before)
        yield Row(f"two steps of {_name(trainer)}, fp16: the host waits for none", None, "", "holds", not seen, seen)


def sampling(bench: Bench) -> Iterator[Row]:
    """The whole sampler, its network calls kernel by kernel and as they are: CUDA graphs."""
    from bakeoff.objectives import Generator
    from bakeoff.objectives._cuda_graph import Captured

    for trainer in trainers(bench, "fp32"):
        candidate, wanted, model = trainer.candidate, trainer.protocol.sampling, trainer.model.eval()
        prompts, used = candidate.task.prompts(wanted.count), candidate.generator(model)
        plain = Generator(used.objective, used.space, model, Captured(model, serves=lambda device: False))
        works = {
            "kernel by kernel": partial(plain, prompts, wanted, 0),
            "as used": partial(used, prompts, wanted, 0),
        }
        ms = medians_ms(works, bench.device)
        for how, taken in ms.items():
            bar = of_the_study(bench, trainer) and how == "as used"
            steps = candidate.objective.steps(wanted, prompts)
            name = f"{steps}-step sampling of {wanted.count}, {_name(trainer)}, {how}"
            yield _against_20_ms(name, taken, bar, used.captured.why_not if how == "as used" else "")


def captured_step(bench: Bench) -> Iterator[Row]:
    """What a training step as one CUDA graph would be worth: forward, backward, clipping, AdamW; bf16, batch given."""
    for trainer in trainers(bench, "bf16"):
        step = _fixed_step(trainer)
        works = {"kernel by kernel": step}
        if bench.device.type == "cuda":
            works["as one CUDA graph"] = captured(step)
        for how, ms in medians_ms(works, bench.device, seconds=2.0).items():
            yield Row(f"step of {_name(trainer)}, bf16, its batch given, {how}", ms, "ms")


def compiled_step(bench: Bench) -> Iterator[Row]:
    """What torch.compile would be worth for the same step, and what the compilation takes; training does not use it."""
    backend = "inductor" if bench.device.type == "cuda" else "aot_eager"  # interpreted kernels cannot be compiled
    for trainer in trainers(bench, "bf16"):
        step = _fixed_step(trainer, torch.compile(trainer.model, backend=backend))
        begun = time.perf_counter()
        step()
        if bench.device.type == "cuda":
            torch.cuda.synchronize()
        compiling = f"compiled in {time.perf_counter() - begun:.0f} s"
        works = {"as it is": _fixed_step(trainer), f"compiled ({backend})": step}
        for how, ms in medians_ms(works, bench.device, seconds=2.0).items():
            detail = "" if how == "as it is" else compiling
            yield Row(f"step of {_name(trainer)}, bf16, its batch given, {how}", ms, "ms", detail=detail)


def _fixed_step(trainer: "Trainer", model: Any = None) -> Callable[[], object]:
    """A step on one batch that lies on the device, in operations that a graph can hold.

    Args:
        model: in place of the trainer's own, with the same parameters.
    """
    objective, recipe = trainer.candidate.objective, trainer.protocol.training
    batch = trainer.data.batch(0, 0)
    drawn = objective.draws(batch, torch.Generator().manual_seed(0))
    draws = {name: None if one is None else one.to(trainer.device) for name, one in drawn.items()}
    on_card = trainer.device.type == "cuda"
    optimiser = torch.optim.AdamW(trainer.parameters, lr=recipe.lr, fused=True, capturable=on_card)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(trainer.device.type, torch.bfloat16):
            loss = objective.loss(trainer.model if model is None else model, batch, draws)
        loss.backward()
        nn.utils.clip_grad_norm_(trainer.parameters, recipe.clip)
        optimiser.step()

    return step
