"""Calibration: figures of real and corrupted items and of baselines, measured once before the seal to decide a bar.

`bakeoff calibrate` makes it, and the sealed plan holds its digest. Each calibration is one JSON file.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from torch import Generator

from bakeoff.data.made import home
from bakeoff.errors import BakeoffError
from bakeoff.protocol import seal
from bakeoff.protocol.schema import Protocol
from bakeoff.seeding import generator

LARGEST = 16 << 20
DRAWS, SEED = 20, 11  # of a calibration by arithmetic
Spread = tuple[float, float, float]  # minimum, median and maximum over draws
A = TypeVar("A")


@dataclass(frozen=True)
class Calibration:
    """A task's figures on items of known kind.

    Attributes:
        samples: items assessed together -> kind of items -> figure -> minimum, median and maximum over draws.
        draws: number of sets of each kind.
        seed: seed of the draws.
        baselines: name -> figure -> value that a candidate has to beat.
    """

    samples: dict[int, dict[str, dict[str, Spread]]]
    draws: int
    seed: int
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))

    def digest(self) -> str:
        """SHA-256 of the canonical form, hex."""
        return seal.digest(self.document())

    def of(self, kind: str) -> dict[int, dict[str, Spread]]:
        """Items assessed together -> figure -> spread, of one kind of items."""
        return {count: kinds[kind] for count, kinds in self.samples.items() if kind in kinds}


def of_draws(
    purpose: str,
    answers: Mapping[str, A],
    figures: Callable[[A, Generator], Mapping[str, float]],
    assessed: Iterable[str],
    baselines: Iterable[str],
    count: int,
) -> Calibration:
    """A calibration by arithmetic: the figures of each sort of answers, over draws that all sorts share.

    Args:
        answers: name -> how such answers are made; one of the names is "real".
        figures: of `count` items that are drawn from the generator and answered in this way.
        assessed: the figures to keep.
        baselines: the names that a candidate has to beat.
    """
    spreads: dict[str, dict[str, Spread]] = {}
    for name, answer in answers.items():
        found = [figures(answer, generator(purpose, SEED, draw)) for draw in range(DRAWS)]
        values = {figure: [one[figure] for one in found] for figure in assessed}
        spreads[name] = {figure: (min(v), median(v), max(v)) for figure, v in values.items()}
    medians = {name: {figure: spread[1] for figure, spread in spreads[name].items()} for name in baselines}
    return Calibration({count: spreads}, DRAWS, SEED, medians)


def read_calibration(document: Any) -> Calibration:
    """Reads a calibration from plain values. Raises KeyError, TypeError or ValueError for anything else."""
    samples = {
        int(count): {
            str(kind): {str(name): _spread(values) for name, values in figures.items()}
            for kind, figures in kinds.items()
        }
        for count, kinds in document["samples"].items()
    }
    baselines = {
        str(name): {str(figure): float(value) for figure, value in figures.items()}
        for name, figures in document.get("baselines", {}).items()
    }
    return Calibration(samples, int(document["draws"]), int(document["seed"]), baselines)


def _spread(values: Any) -> Spread:
    low, middle, high = (float(value) for value in values)
    return low, middle, high


def stored(protocol: Protocol) -> Path:
    """The calibration file of a protocol's task and codec on this machine; thresholds are chosen after it."""
    document = protocol.document()
    key = seal.digest(
        {name: document.get(name) for name in ("task", "codec", "plugins")} | {"of": document["bar"]["samples"]}
    )
    return home() / "calibrations" / f"{protocol.name}-{key[:16]}.json"


def load_calibration(protocol: Protocol) -> Calibration | None:
    """The calibration that is stored on this machine; None if there is none.

    Raises:
        BakeoffError: its file cannot be read.
    """
    path = stored(protocol)
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST} bytes")
        return read_calibration(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BakeoffError(f"{path}: not a calibration ({error!r:.80}); run `bakeoff calibrate` again.") from None
