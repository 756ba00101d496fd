"""Train a protocol's backbones as a pilot, on a seed that no verdict reads, and add what they reach to a list.

    python scripts/pilot.py recall-smoke --seed 100 --set training.lr=1e-3 --list docs/results/recall-pilots.json

A pilot finds size, steps, schedule or learning rate; it is one of all backbones unless `--only` says otherwise, and the
list keeps every one that was run. Nothing is sealed, probed or decided.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bakeoff.trial import surroundings

surroundings.settle()  # before torch's threads start
# ruff: noqa: E402
import torch

from bakeoff.artefacts.base import build_kind
from bakeoff.errors import BakeoffError
from bakeoff.protocol.presets import load_protocol
from bakeoff.rundir.files import read_json, write_atomic
from bakeoff.trial.plan import PlannedBackbone, make_plan
from bakeoff.trial.trainer import Trainer

POINTS = 10  # of the curve: the mean of the last ten steps of each tenth of training


def pilot(planned: PlannedBackbone, seed: int, picture: Path | None = None) -> dict[str, Any]:
    """Accuracy and other figures on the bar's items, and the loss along training.

    Args:
        picture: where the sheet of the first items is drawn.
    """
    candidate, device = planned.candidate, torch.device("cpu")
    data, protocol = candidate.task.data(device), candidate.protocol
    assert data is not None
    trainer = Trainer(candidate, planned.fit.widths, seed, data, device)
    trainer.run(lambda step, losses: None)
    trainer.use_average()
    prompts = candidate.task.prompts(protocol.bar.samples)
    with torch.no_grad():
        generated = candidate.generator(trainer.model)(prompts, protocol.sampling, seed)
    items = candidate.task.items(generated.x, prompts)
    if picture is not None:
        build_kind(candidate.task.kind).sheet(items.take(0, protocol.sampling.count), columns=16).save(picture)
    quality = candidate.task.assess(items, prompts)
    ends = [protocol.total_steps * (i + 1) // POINTS for i in range(POINTS)]
    losses = [round(trainer.losses[max(0, end - 10) : end].mean().item(), 3) for end in ends]
    return {
        "backbone": candidate.backbone.name,
        "params": planned.fit.params,
        "figures": {name: round(value, 4) for name, value in quality.figures.items()},
        "losses": losses,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", help="a preset or a TOML file")
    parser.add_argument("--seed", type=int, required=True, help="none of the protocol's own")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one key; repeatable")
    parser.add_argument("--only", nargs="+", default=[], help="these backbones alone")
    parser.add_argument("--list", type=Path, required=True, help="JSON file to add to")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw what each made, as BACKBONE.png")
    options = parser.parse_args()
    try:
        plan = make_plan(load_protocol(options.protocol, options.set))
        if plan.protocol.to_try:
            raise BakeoffError(f"{options.protocol}: sweeps; give one value for all (--set sweep=none --set ...=...).")
        if options.seed in plan.protocol.seeds:
            raise BakeoffError(f"--seed {options.seed}: the protocol's own; a pilot takes another.")
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
        for planned in plan.backbones:
            if options.only and planned.backbone.name not in options.only:
                continue
            name = planned.backbone.name
            found = pilot(planned, options.seed, options.pictures and options.pictures / f"{name}.png")
            print(json.dumps(found), flush=True)
            pilots = read_json(options.list)["pilots"] if options.list.is_file() else []
            pilots.append({"protocol": options.protocol, "seed": options.seed, "changes": options.set, **found})
            write_atomic(options.list, (json.dumps({"pilots": pilots}, indent=1) + "\n").encode())
    except (BakeoffError, OSError) as error:
        print(f"pilot: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
