"""What people said of a run: the votes that count, by backbone and trial, and how far they and the judge agree."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bakeoff.artefacts.images import read_samples
from bakeoff.data.mnist import as_images
from bakeoff.errors import BakeoffError
from bakeoff.judging.store import read_record
from bakeoff.metrics.digits import load_judge, recognise
from bakeoff.protocol.votes.agreement import Agreement, Judgement, SampleSet, Tally, between_people, tally, with_judge
from bakeoff.protocol.votes.sessions import SessionRecord
from bakeoff.run.directory import RunDir, TrialDir


@dataclass
class Judgements:
    """All that people said of a run in sessions that hold, on images that are still those that they saw.

    A person's first vote on a set counts, later ones do not; names that differ in capitals alone are one person.

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
        return agreement(self._run, self.votes, self.votes)


def judgements(run: RunDir) -> Judgements:
    """All finished sessions of the record that hold.

    Raises:
        BakeoffError: the record is no file, or too large.
    """
    sessions = read_record(run)
    votes, notes, names = dict[tuple[str, SampleSet], Judgement](), sessions.notes(), dict[str, str]()
    count, planned = 0, {(trial.backbone, trial.seed) for trial in run.trials()}
    for record in sessions.finished:
        name = f"session {record.begun.session[:8]} of {record.begun.who}"
        if any(
            (one.backbone, one.seed) not in planned or not 0 < one.size <= run.protocol.samples_drawn - one.first
            for one in record.sets.values()
        ):
            notes.append(f"{name} left out: it is of trials or samples that this run does not have")
            continue
        count, again = count + 1, 0
        who = names.setdefault(record.begun.who.casefold(), record.begun.who)
        for one in judgements_of(record, who):
            again += (one.who, one.seen) in votes
            votes.setdefault((one.who, one.seen), one)
        if again:
            notes.append(f"{name}: {again} votes left out, on sets that an earlier reveal had named")
    _, lost = images_of(run, (one.seen for one in votes.values()))
    why = Counter((f"{seen.backbone}-s{seen.seed}", lost[seen]) for _, seen in votes if seen in lost)
    notes += [f"{trial}: {number} votes left out: {reason}" for (trial, reason), number in why.items()]
    return Judgements([one for one in votes.values() if one.seen not in lost], count, notes, run)


def judgements_of(record: SessionRecord, who: str) -> list[Judgement]:
    return [Judgement(who, record.sets[item], record.votes[item]) for item in record.begun.shown]


def by_backbone(run: RunDir, votes: Iterable[Judgement]) -> dict[str, Tally]:
    votes = list(votes)
    names = [backbone.name for backbone in run.protocol.backbones]
    return {name: tally(one.vote for one in votes if one.seen.backbone == name) for name in names}


def agreement(run: RunDir, votes: list[Judgement], everybody: list[Judgement]) -> Agreement:
    words = judge_words(run, (one.seen for one in votes))
    return Agreement(with_judge(votes, words), between_people(everybody))


def judge_words(run: RunDir, sets: Iterable[SampleSet]) -> dict[SampleSet, str]:
    """The automatic judge's word on each set: "clean" if at least the protocol's share of its samples is recognised.

    It has none where the protocol sets no such threshold. Sets whose images are not there any more are left out.
    """
    words, least = {}, run.protocol.bar.thresholds.get("recognised")
    if least is None:
        return words
    for one, images_BHW in images_of(run, sets)[0].items():
        _, probabilities_BK = load_judge().look(as_images(images_BHW))
        share = recognise(probabilities_BK)[0].double().mean().item()
        words[one] = "clean" if share >= least else "noise"
    return words


def sample_set(trial: TrialDir, samples_BHW: np.ndarray, first: int, size: int) -> SampleSet:
    """A set of a trial's samples as they are now."""
    sha256 = hashlib.sha256(samples_BHW[first : first + size].tobytes()).hexdigest()
    return SampleSet(trial.backbone, trial.seed, first, size, sha256)


def images_of(run: RunDir, sets: Iterable[SampleSet]) -> tuple[dict[SampleSet, np.ndarray], dict[SampleSet, str]]:
    """uint8 images of the sets that are still what was shown; and of the others, what is wrong."""
    images, lost = {}, {}
    by_trial = defaultdict[tuple[str, int], list[SampleSet]](list)
    for one in dict.fromkeys(sets):
        by_trial[one.backbone, one.seed].append(one)
    for (backbone, seed), of_trial in by_trial.items():
        trial = run.trial(backbone, seed)
        try:
            samples_BHW = read_samples(trial.samples, run.protocol)
        except BakeoffError:
            lost |= dict.fromkeys(of_trial, "its samples cannot be read")
            continue
        for one in of_trial:
            if sample_set(trial, samples_BHW, one.first, one.size) == one:
                images[one] = samples_BHW[one.first : one.first + one.size]
            else:
                lost[one] = "its samples are no longer those that were judged"
    return images, lost
