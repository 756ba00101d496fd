"""The task of recall: sequences that ask for what stood earlier in them; see `sequences`.

Shapes: B sequences, L tokens.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from bakeoff.artefacts.answers import ASKED, FACT, UNKNOWN
from bakeoff.artefacts.base import Items
from bakeoff.models.batch import Batch
from bakeoff.protocol import statistics
from bakeoff.protocol.figures import RECALL
from bakeoff.protocol.measurement import Quality
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sections import tasks as sections
from bakeoff.protocol.space import Space
from bakeoff.seeding import generator
from bakeoff.tasks.base import Endless, Finite, Split, Task
from bakeoff.tasks.calibration import Calibration, of_draws
from bakeoff.tasks.sequences import Sequences, drawn, fixed, possible_answers, written

VALID = 1024  # sequences
ASSESSED = ("accuracy", "solved")
BY_QUESTIONS = ("questions", "answers", "share_right", "share_low", "share_high")  # low and high: Wilson's, 95 %


class Recall(Task):
    """Recall under one protocol."""

    kind = "answers"
    item = "sequence"
    question = "whether its answers are right, whether they are guesses"
    figures = tuple(RECALL.values())
    calibrated = True
    varied = True

    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        assert isinstance(protocol.task, sections.Recall)
        self.section = protocol.task
        self.read = self.section.variant == "copying"  # what is copied is read on; other answers stand at their keys
        symbols = self.section.vocabulary
        self.space = Space(self.section.length, vocabulary=symbols, targets=0 if self.read else symbols)

    @property
    def example(self) -> str:
        """A sequence of the test set; none where answers are read on, for then they would have to be typed, too."""
        return "" if self.read else " ".join(map(str, self._fixed("test", 1).tokens_BL[0].tolist()))

    def inputs(self) -> dict[str, str]:
        """The digest of a few sequences: it changes if they are made in another way."""
        return {"sequences": hashlib.sha256(b"".join(x.numpy().tobytes() for x in self._fixed("test", 8))).hexdigest()}

    def data(
        self, device: torch.device, data_dir: Path | None = None, split: Split = "train", length: int | None = None
    ) -> Endless | Finite:
        section = self.section if length is None else self.section.model_copy(update={"length": length})
        batch = self.protocol.training.batch
        if split != "train":
            return Finite(self._batch(fixed(section, split, VALID)).to(device), batch)
        return Endless(
            lambda seed, step, count: self._batch(drawn(section, count, generator("recall", seed, step))), batch, device
        )

    def _fixed(self, name: str, count: int) -> Sequences:
        return fixed(self.section, name, count)

    def _batch(self, made: Sequences) -> Batch:
        return Batch(made.tokens_BL, None if self.read else made.answers_BL, weight_BL=made.asked_BL.float())

    def prompts(self, count: int, label: int | None = None) -> Batch:
        """Sequences of the test set, without what is asked; `truth` holds the answers, for `assess` alone."""
        return self.asked(self._fixed("test", count))

    def asked(self, made: Sequences) -> Batch:
        """Prompts of whole sequences: -1 stands for what is asked."""
        batch = self._batch(made)
        truth = {"marks": made.marks_BL, "answers": made.answers_BL}
        if batch.y is None:
            return batch._replace(x=made.tokens_BL.masked_fill(made.asked_BL, UNKNOWN), truth=truth)
        return batch._replace(y=torch.full_like(batch.y, UNKNOWN), truth=truth)

    def typed(self, text: str) -> Batch:
        """Symbols with blanks between them; every key that comes again behind its value is asked."""
        return self.asked(written(self.section, text))

    def items(self, x: Tensor, prompts: Batch) -> Items:
        """Each sequence with its answers; an answer that is not given yet is -1."""
        assert prompts.x is not None and prompts.truth is not None
        marks_BL, truth_BL = (prompts.truth[name].cpu() for name in ("marks", "answers"))
        asked_BL = marks_BL == ASKED
        return Items(
            {
                "tokens": prompts.x.cpu().numpy().astype(np.int32),
                "marks": marks_BL.numpy().astype(np.uint8),
                "answers": x.cpu().masked_fill(~asked_BL, UNKNOWN).numpy().astype(np.int32),
                "truth": truth_BL.masked_fill(~asked_BL, UNKNOWN).numpy().astype(np.int32),
            }
        )

    def assess(self, items: Items, prompts: Batch) -> Quality:
        """The share of right answers, averaged over sequences; in `detail` by the number of questions of a sequence."""
        asked = items["marks"] == ASKED
        correct = (items["answers"] == items["truth"]) & asked
        questions, right = asked.sum(1), correct.sum(1)
        by_questions: dict[str, list[float]] = {name: [] for name in BY_QUESTIONS}
        for number in np.unique(questions).tolist():
            chosen = questions == number
            k, n = int(right[chosen].sum()), int(questions[chosen].sum())
            for name, value in zip(BY_QUESTIONS, (number, n, k / n, *statistics.wilson(k, n)), strict=True):
                by_questions[name].append(value)
        return Quality(samples=len(items), figures=figures(correct, asked), detail=by_questions)

    def calibration(self) -> Calibration:
        """Always there: it is arithmetic, the same on every machine, and takes a second."""
        return measure(self.section, self.protocol.bar.samples)

    def calibrate(self, device: torch.device) -> Calibration:
        """Figures of the true answers, and of answers that need no recall."""
        return measure(self.section, self.protocol.bar.samples)


# ---- answers that need no recall, for the calibration

Answer = Callable[[Sequences, Generator, sections.Recall], Tensor]


def _true(made: Sequences, g: Generator, section: sections.Recall) -> Tensor:
    return made.answers_BL


def _chance(made: Sequences, g: Generator, section: sections.Recall) -> Tensor:
    """Any symbol that could be an answer."""
    return torch.randint(*possible_answers(section), made.answers_BL.shape, generator=g)


def _any_fact(made: Sequences, g: Generator, section: sections.Recall) -> Tensor:
    """Any fact of the same sequence, as one who has read the facts but does not know which belongs to which key."""
    facts_BL = (made.marks_BL == FACT).float()
    picked_BL = torch.multinomial(facts_BL, facts_BL.shape[1], replacement=True, generator=g)
    return made.tokens_BL.gather(1, picked_BL)


def _half(made: Sequences, g: Generator, section: sections.Recall) -> Tensor:
    """Every other answer is true, by a coin; the rest are any symbol."""
    known_BL = torch.rand(made.answers_BL.shape, generator=g) < 0.5
    return torch.where(known_BL, made.answers_BL, _chance(made, g, section))


ANSWERS: dict[str, Answer] = {
    "real": _true,
    "chance": _chance,
    "any fact of the sequence": _any_fact,
    "half of the answers true": _half,
}
BASELINES = ("chance", "any fact of the sequence")  # what a candidate has to beat


def measure(section: sections.Recall, count: int) -> Calibration:
    """The figures of each sort of answers, over draws of `count` sequences."""
    return _measure(section.model_dump_json(), count)


@lru_cache(maxsize=8)
def _measure(options: str, count: int) -> Calibration:
    section = sections.Recall.model_validate_json(options)

    def found(answer: Answer, g: Generator) -> dict[str, float]:
        made = drawn(section, count, g)
        right_BL = (answer(made, g, section) == made.answers_BL) & made.asked_BL
        return figures(right_BL.numpy(), made.asked_BL.numpy())

    return of_draws("recall calibration", ANSWERS, found, ASSESSED, BASELINES, count)


def figures(right_BL: np.ndarray, asked_BL: np.ndarray) -> dict[str, float]:
    """The share of right answers, averaged over sequences, and the share of sequences without a wrong one."""
    questions, right = asked_BL.sum(1), (right_BL & asked_BL).sum(1)
    return {"accuracy": float((right / questions).mean()), "solved": float((right == questions).mean())}
