"""The process of the passes after training: the loss floor, and the speed of all candidates in turn."""

import argparse
import sys

import torch

from bakeoff.probes.step_time import measure_speed
from bakeoff.run.directory import RunDir
from bakeoff.run.files import write_json
from bakeoff.tasks import build_task
from bakeoff.tasks.floors import task_floor
from bakeoff.trial.process import parser, serve


def work(run: RunDir, options: argparse.Namespace) -> int:
    task = build_task(run.protocol)
    data = task.training_set(options.data_dir, torch.device(options.device))
    if not run.floor.is_file():
        write_json(run.floor, vars(task_floor(task, data)))
    write_json(run.speed, measure_speed(run, task, data))
    return 0


if __name__ == "__main__":
    sys.exit(serve(parser(__doc__).parse_args(), work))
