"""Train one backbone with one recipe after another and see what each reaches, and for how many CPU seconds.

    python scripts/recipe.py --tasks latent pixels recall --list docs/results/recipe.json
    python scripts/recipe.py --page --list docs/results/recipe.json

The first takes hours, and goes on where it was stopped. Every arm changes the base in one thing, but the last four,
which are the best ones together. All are trained at the same rates; nothing is sealed or decided. The seed is none of
any verdict's. CPU seconds are those of training alone, by all threads.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from bakeoff.trial import surroundings

surroundings.settle()  # before torch's threads start
# ruff: noqa: E402
import torch

from bakeoff.errors import BakeoffError
from bakeoff.objectives.flow import Flow
from bakeoff.protocol.presets import load_protocol
from bakeoff.rundir.files import read_json, write_atomic
from bakeoff.trial.held_out import held_out
from bakeoff.trial.plan import PlannedBackbone, make_plan
from bakeoff.trial.trainer import Trainer

SEED = 1000
IMAGES, SYMBOLS = ("latent", "pixels"), ("recall",)


class Base(NamedTuple):
    """What every arm of a task begins with."""

    protocol: str
    changes: tuple[str, ...]
    rates: tuple[float, ...]
    figure: str  # that is shown beside the loss


DIGITS = ("training.epochs=1", "sweep=none", 'training.optimiser="adamw"', 'objective.times="uniform"')
BASES = {
    "latent": Base("mnist-quick", DIGITS, (4e-3, 8e-3, 1.6e-2), "frechet"),
    "pixels": Base(
        "mnist-quick",
        (*DIGITS, 'codec={kind="pixel", patch=4}', "budget.params=240_000"),
        (4e-3, 8e-3, 1.6e-2),
        "frechet",
    ),
    "recall": Base("recall-quick", ("sweep=none",), (1e-3, 3e-3, 1e-2), "accuracy"),
}
DATA = 'objective.prediction="data"'
LOGIT_NORMAL = 'objective.times="logit-normal"'
MUON = 'training.optimiser="muon"'
ARMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # tasks, changes
    "base": ((*IMAGES, *SYMBOLS), ()),
    "data": (IMAGES, (DATA,)),
    "data, loss of the data": (IMAGES, (DATA, 'objective.loss_space="data"')),
    "loss of the data": (IMAGES, ('objective.loss_space="data"',)),
    "logit-normal(0, 1)": (IMAGES, (LOGIT_NORMAL,)),
    "logit-normal(-0.8, 0.8)": (IMAGES, (LOGIT_NORMAL, "objective.times_mean=-0.8", "objective.times_std=0.8")),
    "muon": ((*IMAGES, *SYMBOLS), (MUON,)),
    "one modulation": (IMAGES, ('model.conditioning="adaln-single"',)),
    "constant rate": (IMAGES, ('training.schedule="constant"',)),
    "cosine": (SYMBOLS, ('training.schedule="cosine"',)),
    "batch 32": (IMAGES, ("training.batch=32",)),
    "batch 128": (IMAGES, ("training.batch=128",)),
    "batch 32, twice the steps": (SYMBOLS, ("training.batch=32", "training.steps=2000")),
    "batch 128, half the steps": (SYMBOLS, ("training.batch=128", "training.steps=500")),
    "no average": (IMAGES, ("training.ema=0",)),
    "average of 0.98": (IMAGES, ("training.ema=0.98",)),
    "no warm-up": ((*IMAGES, *SYMBOLS), ("training.warmup=0",)),
    "logit-normal(0, 1), muon": (IMAGES, (LOGIT_NORMAL, MUON)),
    "logit-normal(0, 1), muon, batch 32": (IMAGES, (LOGIT_NORMAL, MUON, "training.batch=32")),
    "data, logit-normal(0, 1), muon": (("pixels",), (DATA, LOGIT_NORMAL, MUON)),
    "muon, batch 32, twice the steps": (SYMBOLS, (MUON, "training.batch=32", "training.steps=2000")),
}


def trained(planned: PlannedBackbone) -> dict[str, Any]:
    """What one training reaches: its held-out loss, the loss of the velocity for all flows, and the bar's figures."""
    candidate, device = planned.candidate, torch.device("cpu")
    data, valid = candidate.task.data(device), candidate.task.data(device, split="valid")
    assert data is not None and valid is not None
    trainer = Trainer(candidate, planned.fit.widths, SEED, data, device)
    started = time.process_time()
    trainer.run(lambda step, losses: None)
    cpu_s = time.process_time() - started
    row = {"params": planned.fit.params, "steps": trainer.total, "cpu_s": round(cpu_s, 2)}
    if trainer.diverged_at is not None:
        return row | {"diverged_at": trainer.diverged_at}
    trainer.use_average()
    objective = candidate.objective
    scored = Flow(prediction=objective.prediction) if isinstance(objective, Flow) else objective
    lost = held_out(scored, trainer.model, valid)["held_out_loss"]
    protocol = candidate.protocol
    prompts = candidate.task.prompts(protocol.bar.samples)
    with torch.no_grad():
        generated = candidate.generator(trainer.model)(prompts, protocol.sampling, SEED)
    figures = candidate.task.assess(candidate.task.items(generated.x, prompts), prompts).figures
    return row | {"held_out": round(lost, 5), "figures": {name: round(value, 4) for name, value in figures.items()}}


def to_train(tasks: list[str], arms: list[str], done: list[dict[str, Any]]) -> Iterator[tuple[str, str, float]]:
    """Task, arm and rate of all that is not in the list: every arm at one rate before the next rate."""
    there = {(one["task"], one["arm"], one["rate"]) for one in done}
    for task in tasks:
        for rate, arm in product(BASES[task].rates, arms):
            if task in ARMS[arm][0] and (task, arm, rate) not in there:
                yield task, arm, rate


def train_all(path: Path, tasks: list[str], arms: list[str]) -> None:
    """Adds a row for every backbone of what is not in the list yet."""
    done = read_json(path)["rows"] if path.is_file() else []
    for task, arm, rate in list(to_train(tasks, arms, done)):
        base = BASES[task]
        protocol = load_protocol(base.protocol, [*base.changes, *ARMS[arm][1], f"training.lr={rate!r}"])
        rows = []
        for planned in make_plan(protocol).backbones:
            row = {"task": task, "arm": arm, "rate": rate, "backbone": planned.backbone.name, **trained(planned)}
            print(json.dumps(row), flush=True)
            rows.append(row)
        document = read_json(path) if path.is_file() else {"rows": []}  # another process may have added to it
        document["rows"] += rows
        write_atomic(path, (json.dumps(document, indent=1) + "\n").encode())


def whole_rates(rows: list[dict[str, Any]], task: str) -> list[float]:
    """The rates at which every arm of a task that was begun was trained with every backbone."""
    there = {(one["arm"], one["backbone"], one["rate"]) for one in rows if one["task"] == task}
    arms, names = {one[0] for one in there}, {one[1] for one in there}
    return [rate for rate in BASES[task].rates if all((arm, name, rate) in there for arm in arms for name in names)]


def best(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The row of the lowest held-out loss, if one has any."""
    return min((one for one in rows if "held_out" in one), key=lambda one: one["held_out"], default=None)


def page(rows: list[dict[str, Any]], said: Sequence[str] = ()) -> Iterator[str]:
    """The page; `said` is what people read in it, kept in the list."""
    yield from ("# The recipe: what each part of it is worth", "")
    yield (
        "Written by `python scripts/recipe.py --page`; every training is in [recipe.json](recipe.json). Each arm "
        "changes the base in one thing and keeps, for each backbone, the best of the same rates by held-out loss; the "
        "loss is that of the velocity at even times, whatever was trained for. The last columns are against the base: "
        "below 1 is better. One seed: differences of a hundredth are noise. CPU seconds are of the one training, "
        "beside other work: another average or no warm-up is the base's work; their ratios tell how far to trust all."
    )
    for paragraph in said:
        yield from ("", paragraph)
    for task in dict.fromkeys(one["task"] for one in rows):
        rates = whole_rates(rows, task)
        mine = [one for one in rows if one["task"] == task and one["rate"] in rates]
        if mine:
            yield from ("", f"## {task}", "", *_table(task, mine, rates))


def _table(task: str, rows: list[dict[str, Any]], whole: list[float]) -> Iterator[str]:
    base = BASES[task]
    changes = " ".join(f"--set '{one}'" for one in base.changes)
    rates = ", ".join(f"{one:g}" for one in whole)
    yield from (f"`{base.protocol} {changes}`, rates {rates}, seed {SEED}.", "")
    names = list(dict.fromkeys(one["backbone"] for one in rows))
    yield (
        "| arm | " + " | ".join(f"{name}: loss, {base.figure}, rate, CPU s" for name in names) + " | loss, mean | CPU |"
    )
    yield "|" + "---|" * (len(names) + 3)
    kept = {
        (arm, name): best([one for one in rows if (one["arm"], one["backbone"]) == (arm, name)])
        for arm in dict.fromkeys(one["arm"] for one in rows)
        for name in names
    }
    for arm in (one for one in ARMS if (one, names[0]) in kept):
        found = [kept[arm, name] for name in names]
        cells = [
            "diverged"
            if one is None
            else f"{one['held_out']:.4f}, {one['figures'][base.figure]:.4g}, {one['rate']:g}, {one['cpu_s']:.0f}"
            for one in found
        ]
        means = ["", ""]
        for index, key in enumerate(("held_out", "cpu_s")):
            pairs = [(one, first) for name in names if (one := kept[arm, name]) and (first := kept.get(("base", name)))]
            if len(pairs) == len(names):
                means[index] = f"{fmean(one[key] / first[key] for one, first in pairs):.3f}"
        yield "| " + " | ".join([arm, *cells, *means]) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(BASES), default=list(BASES))
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--list", type=Path, required=True, help="JSON file to go on with")
    parser.add_argument("--page", action="store_true", help="train nothing; write the page beside the list")
    options = parser.parse_args()
    try:
        if options.page:
            document = read_json(options.list)
            text = "\n".join(page(document["rows"], document.get("said", ()))) + "\n"
            write_atomic(options.list.with_suffix(".md"), text.encode())
        else:
            train_all(options.list, options.tasks, options.arms)
    except (BakeoffError, OSError) as error:
        print(f"recipe: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
