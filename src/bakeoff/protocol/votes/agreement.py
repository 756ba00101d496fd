"""Human judgements: what people say of sets of samples, counted, and how far they agree; pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

Vote = Literal["clean", "noise", "unsure"]
VOTES: tuple[str, ...] = get_args(Vote)
SETS = 2  # of one trial in a session
SAMPLES = 16  # of a set


class SampleSet(NamedTuple):
    """Samples `first` to `first + size - 1` of one trial, as they were shown."""

    backbone: str
    seed: int
    first: int
    size: int
    sha256: str  # of the samples, by their kind (`bakeoff.artefacts`)


def sets_by_session(samples: int) -> list[list[tuple[int, int]]]:
    """The first sample and size of a trial's sets, for each of the sessions that one person can hold."""
    size = min(SAMPLES, samples)
    sets = min(SETS, samples // size)
    places = [(first, size) for first in range(0, samples - size + 1, size)]
    return [places[i : i + sets] for i in range(0, len(places) - sets + 1, sets)]


class Judgement(NamedTuple):
    """What one person said of one set."""

    who: str
    seen: SampleSet
    vote: str


@dataclass(frozen=True)
class Tally:
    """Votes counted."""

    clean: int = 0
    noise: int = 0
    unsure: int = 0

    @property
    def total(self) -> int:
        return self.clean + self.noise + self.unsure

    @property
    def share(self) -> float | None:
        """Of all votes those that say clean; None if there are none. "unsure" is not clean."""
        return self.clean / self.total if self.total else None


class WithJudge(NamedTuple):
    """People beside the automatic judge, on the votes that are not "unsure": the share that agree, alpha, how many."""

    agree: float | None
    alpha: float | None
    votes: int


class BetweenPeople(NamedTuple):
    """Alpha over all sets that two or more people judged ("unsure" is an answer of its own); people who judged."""

    alpha: float | None
    people: int


class Agreement(NamedTuple):
    judge: WithJudge
    people: BetweenPeople


def tally(votes: Iterable[str]) -> Tally:
    return Tally(**Counter(votes))


def krippendorff_alpha(answers: Iterable[Sequence[str]]) -> float | None:
    """Krippendorff's alpha for nominal answers (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability).

    1 - D_o / D_e with D_o = n - sum_c o_cc and D_e = (n^2 - sum_c n_c^2) / (n - 1), over units with two or more
    answers: a unit with m answers, k_c of them c, adds k_c (k_c - 1) / (m - 1) to o_cc and k_c to n_c.

    Args:
        answers: of every unit, the answers that it got.

    Returns:
        1 for full agreement, 0 for that of chance; None where it is not defined: no unit with two answers, or one
        and the same answer everywhere.
    """
    same, totals = 0.0, Counter[str]()
    for unit in answers:
        if len(unit) > 1:
            counts = Counter(unit)
            same += sum(count * (count - 1) for count in counts.values()) / (len(unit) - 1)
            totals += counts
    n = totals.total()
    by_chance = n * n - sum(count * count for count in totals.values())
    return 1 - (n - same) * (n - 1) / by_chance if by_chance else None


def with_judge(judgements: Iterable[Judgement], words: Mapping[SampleSet, str]) -> WithJudge:
    """How people and the automatic judge agree: every vote is a unit with two answers.

    Args:
        words: what the judge says of each set, "clean" or "noise"; sets without a word are left out.
    """
    pairs = [(one.vote, words[one.seen]) for one in judgements if one.vote != "unsure" and one.seen in words]
    agree = sum(vote == word for vote, word in pairs) / len(pairs) if pairs else None
    return WithJudge(agree, krippendorff_alpha(pairs), len(pairs))


def between_people(judgements: Iterable[Judgement]) -> BetweenPeople:
    """How people agree; at most one judgement of a person on a set."""
    by_set, people = defaultdict[SampleSet, list[str]](list), set[str]()
    for one in judgements:
        by_set[one.seen].append(one.vote)
        people.add(one.who)
    return BetweenPeople(krippendorff_alpha(by_set.values()), len(people))
