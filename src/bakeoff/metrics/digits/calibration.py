"""How the judge sees images of known kind: the shipped table that `scripts/calibrate_judge.py` measured."""

import json
from functools import cache
from pathlib import Path

SHIPPED = Path(__file__).parent / "weights" / "calibration.json"

Draws = dict[str, tuple[float, float, float]]  # figure: minimum, median and maximum over several sets


@cache
def calibration() -> dict[int, dict[str, Draws]]:
    """Samples judged together -> kind of image -> figure -> minimum, median and maximum."""
    table = json.loads(SHIPPED.read_text())["samples"]
    return {
        int(samples): {
            kind: {name: (low, middle, high) for name, (low, middle, high) in figures.items()}
            for kind, figures in kinds.items()
        }
        for samples, kinds in table.items()
    }
