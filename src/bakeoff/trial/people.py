"""What people said of a run: the votes that count, by backbone and trial, and how far they and the judge agree."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bakeoff.data.mnist import as_images
from bakeoff.errors import BakeoffError
from bakeoff.judge import load_judge, recognise
from bakeoff.protocol.blind import Record
from bakeoff.protocol.people import Agreement, Judgement, SampleSet, Tally, between_people, tally, with_judge
from bakeoff.trial.rundir import RunDir
from bakeoff.trial.samples import count_of, read_samples
from bakeoff.trial.votelog import read_record


@dataclass
class Judgements:
    """All that people said of a run in sessions that hold; a person's first vote on a set counts, later ones do not.

    Attributes:
        sessions: how many count.
        notes: what was left out, and why.
    """

    votes: list[Judgement]
    sessions: int
    notes: list[str]
    _run: RunDir = field(repr=False)

    @property
    def people(self) -> list[str]:
        return list(dict.fromkeys(one.who for one in self.votes))

    @property
    def backbones(self) -> dict[str, Tally]:
        """In the protocol's order, those without votes included."""
        return by_backbone(self._run, self.votes)

    def of_trial(self, backbone: str, seed: int) -> Tally:
        return tally(one.vote for one in self.votes if (one.seen.backbone, one.seen.seed) == (backbone, seed))

    @cached_property
    def agreement(self) -> Agreement:
        """Trials whose samples cannot be read are left out of the agreement with the judge."""
        return agreement(self._run, self.votes, self.votes)


def judgements(run: RunDir) -> Judgements:
    """All finished sessions of the record that hold.

    Raises:
        BakeoffError: the record is no file, or too large.
    """
    sessions = read_record(run)
    votes, notes = dict[tuple[str, SampleSet], Judgement](), sessions.notes()
    count, planned = 0, {(trial.backbone, trial.seed) for trial in run.trials()}
    for record in sessions.finished:
        name = f"session {record.begun.session[:8]} of {record.begun.who}"
        if any(
            (one.backbone, one.seed) not in planned or not 0 < one.size <= count_of(run.protocol) - one.first
            for one in record.sets.values()
        ):
            notes.append(f"{name} left out: it is of trials or samples that this run does not have")
            continue
        count, again = count + 1, 0
        for one in judgements_of(record):
            again += (one.who, one.seen) in votes
            votes.setdefault((one.who, one.seen), one)
        if again:
            notes.append(f"{name}: {again} votes left out, on sets that an earlier reveal had named")
    return Judgements(list(votes.values()), count, notes, run)


def judgements_of(record: Record) -> list[Judgement]:
    return [Judgement(record.begun.who, record.sets[item], record.votes[item]) for item in record.begun.shown]


def by_backbone(run: RunDir, votes: Iterable[Judgement]) -> dict[str, Tally]:
    votes = list(votes)
    names = [backbone.name for backbone in run.protocol.backbones]
    return {name: tally(one.vote for one in votes if one.seen.backbone == name) for name in names}


def agreement(run: RunDir, votes: list[Judgement], everybody: list[Judgement]) -> Agreement:
    words = judge_words(run, (one.seen for one in votes))
    return Agreement(with_judge(votes, words), between_people(everybody))


def judge_words(run: RunDir, sets: Iterable[SampleSet]) -> dict[SampleSet, str]:
    """The automatic judge's word on each set: "clean" if at least the protocol's share of its samples is recognised.

    Trials whose samples cannot be read are left out.
    """
    by_trial: dict[tuple[str, int], list[SampleSet]] = {}
    for one in dict.fromkeys(sets):
        by_trial.setdefault((one.backbone, one.seed), []).append(one)
    words = {}
    for of_trial in by_trial.values():
        try:
            images = images_of(run, of_trial)
        except BakeoffError:
            continue
        for one in of_trial:
            _, probabilities_BK = load_judge().look(as_images(images[one]))
            share = recognise(probabilities_BK)[0].double().mean().item()
            words[one] = "clean" if share >= run.protocol.judge.recognised else "noise"
    return words


def images_of(run: RunDir, sets: Iterable[SampleSet]) -> dict[SampleSet, np.ndarray]:
    """uint8 images of each set; each trial's file is read once."""
    sets = list(sets)
    whole = {
        (backbone, seed): read_samples(run.trial(backbone, seed).samples, run.protocol)
        for backbone, seed in {(one.backbone, one.seed) for one in sets}
    }
    return {one: whole[one.backbone, one.seed][one.first : one.first + one.size] for one in sets}
