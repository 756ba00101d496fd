"""What the GPU benchmark measures of training and sampling, a section each, at the study's size.

The package is imported where it is used: what imports Triton reads TRITON_INTERPRET, which `--toy` sets.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmarks.gpu_sections import Bench
from benchmarks.gpu_timing import captured, medians_ms
from benchmarks.row import Row

if TYPE_CHECKING:
    from bakeoff.trial.trainer import Trainer

WARM_UP_STEPS = 3


def trainers(bench: Bench, precision: str) -> Iterator["Trainer"]:
    """One of each backbone, on noise in place of images."""
    from bakeoff.protocol.presets import load_protocol
    from bakeoff.tasks import build_task
    from bakeoff.tasks.digits import TrainingSet
    from bakeoff.trial.trainer import Trainer

    protocol = load_protocol(bench.sizes.preset, [*bench.sizes.overrides, f"training.precision={precision}"])
    task = build_task(protocol)
    count = protocol.task.train_images
    x_NLC = torch.randn(count, task.frame.tokens, task.frame.channels, device=bench.device)
    data = TrainingSet(x_NLC, torch.zeros(count, dtype=torch.long, device=bench.device))
    for backbone in protocol.backbones:
        yield Trainer(task, backbone, task.fit(backbone).widths, 0, data)


def of_the_study(bench: Bench, trainer: "Trainer") -> bool:
    return bench.sizes.preset == "mnist-paper" and trainer.backbone == "mamba"


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
            size = f"batch {trainer.protocol.training.batch}, {trainer.task.frame.tokens} tokens"
            yield _against_20_ms(
                f"step of {trainer.backbone}, {precision}, {size}",
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
        yield Row(f"two steps of {trainer.backbone}, fp16: the host waits for none", None, "", "holds", not seen, seen)


def sampling(bench: Bench) -> Iterator[Row]:
    """The whole sampler, launched kernel by kernel and as it is used: a CUDA graph from its second call on."""
    from bakeoff.objectives import CapturedSolves
    from bakeoff.tasks import build_task

    for trainer in trainers(bench, "fp32"):
        task, wanted, model = trainer.task, trainer.protocol.sampling, trainer.model.eval()
        noise, labels = task.starting_noise(wanted.count, 0).to(bench.device), task.sample_labels(wanted.count)
        plain = build_task(trainer.protocol)
        plain.solves = CapturedSolves(serves=lambda device: False)
        sample = [partial(one.sample, model, noise, labels, wanted) for one in (plain, task)]
        ms = medians_ms(dict(zip(("kernel by kernel", "as used"), sample, strict=True)), bench.device)
        why_not = task.solves.why_not(model)
        for how, taken in ms.items():
            bar = of_the_study(bench, trainer) and how == "as used"
            name = f"{wanted.steps}-step sampling of {wanted.count}, {trainer.backbone}, {how}"
            yield _against_20_ms(name, taken, bar, why_not if how == "as used" else "")


def captured_step(bench: Bench) -> Iterator[Row]:
    """What a training step as one CUDA graph would be worth: forward, backward, clipping, AdamW; bf16, batch given."""
    for trainer in trainers(bench, "bf16"):
        step = _fixed_step(trainer)
        works = {"kernel by kernel": step}
        if bench.device.type == "cuda":
            works["as one CUDA graph"] = captured(step)
        for how, ms in medians_ms(works, bench.device, seconds=2.0).items():
            yield Row(f"step of {trainer.backbone}, bf16, its batch given, {how}", ms, "ms")


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
            yield Row(f"step of {trainer.backbone}, bf16, its batch given, {how}", ms, "ms", detail=detail)


def _fixed_step(trainer: "Trainer", model: Callable[..., Tensor] | None = None) -> Callable[[], object]:
    """A step on one batch that lies on the device, in operations that a graph can hold.

    Args:
        model: in place of the trainer's own, with the same parameters.
    """
    from bakeoff.objectives import flow_loss

    recipe, x_BLC = trainer.protocol.training, trainer.data.x_NLC[: trainer.protocol.training.batch]
    noise_BLC, t_B = torch.randn_like(x_BLC), torch.rand(len(x_BLC), device=x_BLC.device)
    labels_B = trainer.data.labels_N[: len(x_BLC)] if trainer.task.classes else None
    on_card = x_BLC.device.type == "cuda"
    optimiser = torch.optim.AdamW(trainer.parameters, lr=recipe.lr, fused=True, capturable=on_card)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(x_BLC.device.type, torch.bfloat16):
            loss = flow_loss(trainer.model if model is None else model, x_BLC, noise_BLC, t_B, labels_B)
        loss.backward()
        nn.utils.clip_grad_norm_(trainer.parameters, recipe.clip)
        optimiser.step()

    return step
