"""The process of the probes: all candidates of a run, with the weights of its first seed, measured in turn.

It also estimates the loss floor, because it has the data.
"""

import argparse
import sys

import torch

from bakeoff.errors import BakeoffError
from bakeoff.objectives.base import Floor
from bakeoff.probes.base import Subject, measure
from bakeoff.registry import PROBES
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.files import make_folder, write_json
from bakeoff.tasks import Dataset
from bakeoff.trial.checkpoint import load_model
from bakeoff.trial.events import Probing, say
from bakeoff.trial.plan import Plan, make_plan
from bakeoff.trial.process import parser, serve
from bakeoff.trial.trainer import Trainer


def work(run: RunDir, options: argparse.Namespace) -> int:
    plan, device = make_plan(run.protocol), torch.device(options.device)
    data = plan.task.data(device, options.data_dir)
    if data is None:
        raise BakeoffError(f"task {run.protocol.task.kind}: has no training data.")
    if not run.floor.is_file():
        floor = _floor(plan, data)
        write_json(run.floor, {"value": None, "stderr": None, "draws": 0} if floor is None else vars(floor))
    missing = [name for name in options.probe if not run.probe_file(name).is_file()]
    subjects = subjects_of(run, plan, data, device) if missing else []
    for name in missing:
        say(Probing(name))
        make_folder(run.probe_file(name).parent)
        write_json(run.probe_file(name), measure(PROBES.get(name)(), run.protocol, subjects))
    return 0


def _floor(plan: Plan, data: Dataset) -> Floor | None:
    """The memoriser's floor of the loss that all backbones have; None where each has its own, or it is not known."""
    first, *others = (one.candidate for one in plan.backbones)
    alike = all(other.protocol.objective == first.protocol.objective for other in others)
    return first.objective.floor(data) if alike else None


def subjects_of(run: RunDir, plan: Plan, data: Dataset, device: torch.device) -> list[Subject]:
    """The candidates with the weights of the first seed's trials; with initial weights where a trial diverged."""
    seed, subjects = run.protocol.seeds[0], []
    for planned in plan.backbones:
        trainer = Trainer(planned.candidate, planned.fit.widths, seed, data, device)
        trained = run.trial(planned.backbone.name, seed).model
        if trained.is_file():
            trainer.model.load_state_dict(load_model(trained).model.state_dict())
        subjects.append(Subject(planned.backbone.name, trainer, planned.candidate.generator(trainer.model)))
    return subjects


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--probe", nargs="*", default=[], metavar="NAME")
    return serve(made.parse_args(), work)


if __name__ == "__main__":
    sys.exit(main())
