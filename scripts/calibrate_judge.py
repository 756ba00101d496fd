"""Measure the calibration that ships with a judge, for the images of a preset.

    python scripts/calibrate_judge.py emoji-smoke

Minutes of CPU time. The thresholds of a preset are chosen after it, and before anything is trained.
"""

import argparse
import json

import torch

from bakeoff.errors import BakeoffError
from bakeoff.metrics.images.calibration import table
from bakeoff.protocol.presets import load_protocol
from bakeoff.tasks import build_task
from bakeoff.tasks.images import Images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("--set", action="append", default=[], help="a.b=value")
    options = parser.parse_args()
    task = build_task(load_protocol(options.preset, options.set))
    if not isinstance(task, Images):
        raise BakeoffError(f"{options.preset}: its task is not one of images.")
    document = task.calibrate(torch.device("cpu")).document()
    document.pop("baselines")
    path = table(task.table)
    path.write_text(json.dumps(document) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
