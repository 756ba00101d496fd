"""The task of state tracking: what is the product of all elements of a group so far? Asked at every token.

The label of a token stands at the token itself, so that a model reads tokens and never a product. Training sequences
are short, those of the test longer: a model that has the rule answers as well at the end of them.

Shapes: B sequences, L tokens.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from bakeoff.artefacts.answers import ASKED, UNKNOWN
from bakeoff.artefacts.base import Items
from bakeoff.errors import BakeoffError
from bakeoff.models.batch import Batch
from bakeoff.protocol import statistics
from bakeoff.protocol.figures import TRACKING
from bakeoff.protocol.measurement import Quality
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sections import tasks as sections
from bakeoff.protocol.space import Space
from bakeoff.seeding import generator
from bakeoff.tasks.base import Endless, Finite, Split, Task
from bakeoff.tasks.calibration import Calibration, of_draws
from bakeoff.tasks.groups import drawn, elements, fixed, latest, products

VALID = 1024  # sequences
LOST = 0.01  # the share of elements that a forgetful answer misses
ASSESSED = ("tracked", "accuracy")
BY_PLACE = ("first_place", "last_place", "share_right", "share_low", "share_high")  # low and high: Wilson's, 95 %


class Tracking(Task):
    """State tracking under one protocol."""

    kind = "answers"
    item = "sequence"
    question = "whether its answers are right to the end, whether they are guesses"
    figures = tuple(TRACKING.values())
    calibrated = True
    varied = True

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        assert isinstance(protocol.task, sections.Tracking)
        self.section = protocol.task
        order = len(elements(self.section.group))
        self.space = Space(self.section.test_length, vocabulary=order, targets=order)

    @property
    def example(self) -> str:
        """The beginning of a sequence of the test set, as long as the longest of training."""
        return " ".join(map(str, self._test(1)[0, : self.section.lengths[1]].tolist()))

    def inputs(self) -> dict[str, str]:
        """The digest of a few sequences and their products: it changes if they are made in another way."""
        tokens_BL = self._test(8)
        made = tokens_BL, products(self.section.group, tokens_BL)
        return {"sequences": hashlib.sha256(b"".join(x.numpy().tobytes() for x in made)).hexdigest()}

    def data(
        self, device: torch.device, data_dir: Path | None = None, split: Split = "train", length: int | None = None
    ) -> Endless | Finite:
        """Training batches have one length each. Held out are sequences of the longest: the shorter begin them."""
        section, batch = self.section, self.protocol.training.batch
        if split != "train":
            length = length or (section.test_length if split == "test" else section.lengths[1])
            return Finite(self._batch(fixed(section.group, split, VALID, length)).to(device), batch)
        low, high = section.lengths if length is None else (length, length)

        def make(seed: int, step: int, count: int) -> Batch:
            g = generator("tracking", seed, step)
            return self._batch(drawn(section.group, count, int(torch.randint(low, high + 1, (), generator=g)), g))

        return Endless(make, batch, device)

    def _test(self, count: int) -> Tensor:
        return fixed(self.section.group, "test", count, self.section.test_length)

    def _batch(self, tokens_BL: Tensor) -> Batch:
        return Batch(tokens_BL, products(self.section.group, tokens_BL), weight_BL=torch.ones(tokens_BL.shape))

    def prompts(self, count: int, label: int | None = None) -> Batch:
        """Sequences of the test set; `truth` holds the answers, for `assess` alone."""
        return self.asked(self._test(count))

    def asked(self, tokens_BL: Tensor) -> Batch:
        """Prompts of whole sequences: -1 stands for what is asked."""
        batch = self._batch(tokens_BL)
        assert batch.y is not None
        return batch._replace(y=torch.full_like(batch.y, UNKNOWN), truth={"answers": batch.y})

    def typed(self, text: str) -> Batch:
        """Elements by number with blanks between them, as many as a test sequence has or fewer."""
        last, most = self.space.vocabulary - 1, self.space.length
        parts = text.replace(",", " ").split()
        if not 1 <= len(parts) <= most or not all(part.isdecimal() and int(part) <= last for part in parts):
            raise BakeoffError(
                f"prompt: {len(parts)} elements, {text[:80]!r}; allowed: 1 to {most} whole numbers from 0 to {last}, "
                "with blanks between them."
            )
        return self.asked(torch.tensor([list(map(int, parts))]))

    def items(self, x: Tensor, prompts: Batch) -> Items:
        """Each sequence with its answers; an answer that is not given yet is -1."""
        assert prompts.x is not None and prompts.truth is not None
        return Items(
            {
                "tokens": prompts.x.cpu().numpy().astype(np.int32),
                "marks": np.full(prompts.x.shape, ASKED, np.uint8),
                "answers": x.cpu().numpy().astype(np.int32),
                "truth": prompts.truth["answers"].cpu().numpy().astype(np.int32),
            }
        )

    def assess(self, items: Items, prompts: Batch) -> Quality:
        """`accuracy` over all places, `tracked` over the last quarter; in `detail` shares by place.

        Answers of one sequence hang together, for an error carries on. So an interval counts sequences, not answers:
        it is wide enough whatever they have in common.
        """
        right_BL = items["answers"] == items["truth"]
        by_place: dict[str, list[float]] = {name: [] for name in BY_PLACE}
        for first, last in bins(self.section.lengths[1], right_BL.shape[1]):
            share = float(right_BL[:, first - 1 : last].mean())
            low, high = statistics.wilson(share * len(items), len(items))
            for name, value in zip(BY_PLACE, (first, last, share, low, high), strict=True):
                by_place[name].append(value)
        return Quality(samples=len(items), figures=figures(right_BL, self.space.vocabulary), detail=by_place)

    def calibration(self) -> Calibration:
        """Always there: it is arithmetic, the same on every machine, and takes seconds."""
        return measure(self.section, self.protocol.bar.samples)

    def calibrate(self, device: torch.device) -> Calibration:
        """Figures of the true answers, and of answers that track nothing or lose track."""
        return measure(self.section, self.protocol.bar.samples)


def figures(right_BL: np.ndarray, order: int) -> dict[str, float]:
    """Of right answers (B, L) bool in a group of so many elements.

    accuracy: the share of right answers at all places.
    tracked: (a - c) / (1 - c), where a is that share at the last quarter of the places, and c = 1 / order is chance:
        products of drawn elements are spread evenly over the group. 1 is without error, 0 is guessing.
    """
    end, chance = float(right_BL[:, -max(1, right_BL.shape[1] // 4) :].mean()), 1 / order
    return {"tracked": (end - chance) / (1 - chance), "accuracy": float(right_BL.mean())}


def bins(trained: int, length: int) -> list[tuple[int, int]]:
    """First and last place, from 1 on: those of training, then up to each power of two, then up to the end."""
    doubled = [2**i for i in range(1, length.bit_length()) if trained < 2**i < length]
    ends = [min(trained, length), *doubled, *([length] if length > trained else [])]
    return list(zip([1, *(end + 1 for end in ends)], ends, strict=False))


# ---- answers that track nothing, or lose track, for the calibration

Answer = Callable[[Tensor, Tensor, Generator, sections.Tracking], Tensor]  # of tokens and true answers (B, L)


def _chance(tokens_BL: Tensor, truth_BL: Tensor, g: Generator, section: sections.Tracking) -> Tensor:
    count, length = truth_BL.shape
    return drawn(section.group, count, length, g)


def _latest(size: int) -> Answer:
    return lambda tokens_BL, truth_BL, g, section: latest(section.group, truth_BL, size)


def _trained(tokens_BL: Tensor, truth_BL: Tensor, g: Generator, section: sections.Tracking) -> Tensor:
    known_L = torch.arange(truth_BL.shape[1]) < section.lengths[1]
    return torch.where(known_L, truth_BL, _chance(tokens_BL, truth_BL, g, section))


def _half(tokens_BL: Tensor, truth_BL: Tensor, g: Generator, section: sections.Tracking) -> Tensor:
    known_BL = torch.rand(truth_BL.shape, generator=g) < 0.5
    return torch.where(known_BL, truth_BL, _chance(tokens_BL, truth_BL, g, section))


def _forgetful(tokens_BL: Tensor, truth_BL: Tensor, g: Generator, section: sections.Tracking) -> Tensor:
    lost_BL = torch.rand(truth_BL.shape, generator=g) < LOST
    return products(section.group, tokens_BL.masked_fill(lost_BL, 0))


ANSWERS: dict[str, Answer] = {
    "real": lambda tokens_BL, truth_BL, g, section: truth_BL,
    "chance": _chance,
    "the last element": _latest(1),
    "product of the last 2": _latest(2),
    "product of the last 8": _latest(8),
    "right at the places of training, then chance": _trained,
    "one element in a hundred lost": _forgetful,
    "half of the answers true": _half,
}
BASELINES = tuple(ANSWERS)[1:6]  # what a candidate has to beat: none of them carries a state through the sequence


def measure(section: sections.Tracking, count: int) -> Calibration:
    """The figures of each sort of answers, over draws of `count` sequences."""
    return _measure(section.model_dump_json(), count)


@lru_cache(maxsize=8)
def _measure(options: str, count: int) -> Calibration:
    section = sections.Tracking.model_validate_json(options)
    order = len(elements(section.group))

    def found(answer: Answer, g: Generator) -> dict[str, float]:
        tokens_BL = drawn(section.group, count, section.test_length, g)
        truth_BL = products(section.group, tokens_BL)
        return figures((answer(tokens_BL, truth_BL, g, section) == truth_BL).numpy(), order)

    return of_draws("tracking calibration", ANSWERS, found, ASSESSED, BASELINES, count)
