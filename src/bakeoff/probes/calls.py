"""The process of the probe `calls`: every trained model of a run, sampled with few calls of the network and with many.

What is done is written model by model, so that a process that is stopped goes on there.
"""

import argparse
import sys

import torch

from bakeoff.errors import BakeoffError
from bakeoff.probes.base import measure
from bakeoff.probes.solve_time import SolveTime
from bakeoff.probes.steps import with_calls
from bakeoff.probes.worker import subjects_of
from bakeoff.protocol.calls import CallsRecord, Curve, Rung
from bakeoff.protocol.measurement import Quality
from bakeoff.rundir.directory import RunDir, TrialDir
from bakeoff.rundir.files import make_folder, write_json
from bakeoff.seeding import derived_seed
from bakeoff.trial.candidate import Candidate
from bakeoff.trial.checkpoint import load_model
from bakeoff.trial.events import Probing, say
from bakeoff.trial.plan import make_plan
from bakeoff.trial.process import parser, serve

NOISE = ("calls, found", "calls, confirmed")  # purposes of the two sets


def work(run: RunDir, options: argparse.Namespace) -> int:
    plan, device, ladder = make_plan(run.protocol), torch.device(options.device), tuple(options.calls)
    calls, times = run.probe_file("calls"), run.probe_file("solve_time")
    make_folder(calls.parent)
    record = run.calls() or CallsRecord(
        ladder=ladder, setting={"device": str(device), "samples": run.protocol.bar.samples}
    )
    done = {(curve.backbone, curve.seed) for curve in record.curves}
    for trial in run.trials():
        if (trial.backbone, trial.seed) in done or not trial.model.is_file():
            continue
        say(Probing(f"calls of {trial.name}"))
        curve = curve_of(trial, plan.of(trial.backbone).candidate, ladder, device)
        record = record.model_copy(update={"curves": (*record.curves, curve)})
        write_json(calls, record)
    if not times.is_file():
        data = plan.task.data(device, options.data_dir)
        if data is None:
            raise BakeoffError(f"task {run.protocol.task.kind}: has no training data.")
        say(Probing("solve_time"))
        write_json(times, measure(SolveTime(ladder), run.protocol, subjects_of(run, plan, data, device)))
    return 0


@torch.no_grad()
def curve_of(trial: TrialDir, candidate: Candidate, ladder: tuple[int, ...], device: torch.device) -> Curve:
    """One trained model over the ladder, with the bar's number of items on each of two sets of noise."""
    model = load_model(trial.model).model.to(device).eval()
    generator, task = candidate.generator(model), candidate.task
    prompts, rungs = task.prompts(candidate.protocol.bar.samples), []
    for calls in ladder:
        if (sampling := with_calls(candidate, calls)) is None:
            continue
        qualities: list[Quality] = []
        for purpose in NOISE:
            generated = generator(prompts, sampling, derived_seed(purpose, trial.seed) % 2**31)
            quality = task.assess(task.items(generated.x, prompts), prompts)
            qualities.append(quality.model_copy(update={"detail": {}}))
        nfe = candidate.objective.nfe(sampling, prompts)
        rungs.append(Rung(calls=calls, steps=sampling.steps, nfe=nfe, found=qualities[0], confirmed=qualities[1]))
    return Curve(backbone=trial.backbone, seed=trial.seed, rungs=tuple(rungs))


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--calls", nargs="+", type=int, required=True, metavar="N")
    return serve(made.parse_args(), work)


if __name__ == "__main__":
    sys.exit(main())
