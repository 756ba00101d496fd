"""What people said of a run: the votes that count, by backbone and trial, and how far they and the judge agree."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from bakeoff.artefacts.base import Items
from bakeoff.errors import BakeoffError
from bakeoff.judging.store import read_record
from bakeoff.protocol.votes.agreement import Agreement, Judgement, SampleSet, Tally, between_people, tally, with_judge
from bakeoff.protocol.votes.sessions import SessionRecord
from bakeoff.rundir.directory import RunDir, TrialDir
from bakeoff.tasks import build_task

Judge = Callable[[SampleSet, Items], str]  # "clean" or "noise"; raises BakeoffError for items that it cannot judge


@dataclass
class Judgements:
    """All that people said of a run in sessions that hold, on samples that are still those that they saw.

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
        names = [backbone.name for backbone in self._run.protocol.backbones]
        return {name: tally(one.vote for one in self.votes if one.seen.backbone == name) for name in names}

    def of_trial(self, backbone: str, seed: int) -> Tally:
        return tally(one.vote for one in self.votes if (one.seen.backbone, one.seen.seed) == (backbone, seed))

    @cached_property
    def agreement(self) -> Agreement:
        words = judge_words(self._run, (one.seen for one in self.votes), judge_of(self._run))
        return Agreement(with_judge(self.votes, words), between_people(self.votes))


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
    _, lost = read_sets(run, (one.seen for one in votes.values()))
    why = Counter((f"{seen.backbone}-s{seen.seed}", lost[seen]) for _, seen in votes if seen in lost)
    notes += [f"{trial}: {number} votes left out: {reason}" for (trial, reason), number in why.items()]
    return Judgements([one for one in votes.values() if one.seen not in lost], count, notes, run)


def judgements_of(record: SessionRecord, who: str) -> list[Judgement]:
    """The votes of a revealed session, in the order shown."""
    return [Judgement(who, record.sets[item], record.votes[item]) for item in record.begun.shown]


def judge_of(run: RunDir) -> Judge:
    """The automatic judge: a set is clean if it meets every threshold of the bar that is a mean over items."""
    task, thresholds, figures = build_task(run.protocol), run.protocol.bar.thresholds, run.figures
    of_items = {name: least for name, least in thresholds.items() if figures[name].of == "items"}

    def judge(seen: SampleSet, items: Items) -> str:
        if not of_items:
            raise BakeoffError(f"{run.path}: no threshold of its bar says anything about a few items.")
        prompts = task.prompts(seen.first + seen.size).take(seen.first, seen.first + seen.size)
        found = task.assess(items, prompts).figures
        return "clean" if all(figures[name].meets(found[name], least) for name, least in of_items.items()) else "noise"

    return judge


def judge_words(run: RunDir, sets: Iterable[SampleSet], judge: Judge) -> dict[SampleSet, str]:
    """The judge's word on each set; sets that are not there any more, or that it cannot judge, are left out."""
    words = {}
    for one, items in read_sets(run, sets)[0].items():
        try:
            words[one] = judge(one, items)
        except BakeoffError:
            continue
    return words


def sample_set(trial: TrialDir, items: Items, first: int, size: int) -> SampleSet:
    """A set of a trial's samples as they are now."""
    return SampleSet(trial.backbone, trial.seed, first, size, trial.run.kind.digest(items, first, size))


def read_sets(run: RunDir, sets: Iterable[SampleSet]) -> tuple[dict[SampleSet, Items], dict[SampleSet, str]]:
    """The items of the sets that are still what was shown; and of the others, what is wrong."""
    found, lost = {}, {}
    by_trial = defaultdict[tuple[str, int], list[SampleSet]](list)
    for one in dict.fromkeys(sets):
        by_trial[one.backbone, one.seed].append(one)
    for (backbone, seed), of_trial in by_trial.items():
        trial = run.trial(backbone, seed)
        try:
            items = trial.items()
        except BakeoffError:
            lost |= dict.fromkeys(of_trial, "its samples cannot be read")
            continue
        for one in of_trial:
            if sample_set(trial, items, one.first, one.size) == one:
                found[one] = items.take(one.first, one.size)
            else:
                lost[one] = "its samples are no longer those that were judged"
    return found, lost
