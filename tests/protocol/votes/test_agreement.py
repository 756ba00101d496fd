"""Votes counted, and agreement: against the published example, the field's own implementation, and its properties."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.protocol.measurement import Evidence, check_votes
from bakeoff.protocol.presets import load_protocol
from bakeoff.protocol.rule import decide
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.verdict import criteria_table, headline
from bakeoff.protocol.votes.agreement import (
    SAMPLES,
    SETS,
    VOTES,
    Judgement,
    SampleSet,
    Tally,
    between_people,
    krippendorff_alpha,
    sets_by_session,
    tally,
    with_judge,
)

UNITS = st.lists(st.lists(st.sampled_from(VOTES), max_size=5), max_size=12)


def test_alpha_of_the_published_example() -> None:
    """Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, example C: nominal data, four observers."""
    observers = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    units = [[one for one in column if one != "."] for column in zip(*observers, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)


@given(UNITS)
def test_alpha_is_that_of_the_reference_implementation(units: list[list[str]]) -> None:
    counts = np.array([[unit.count(vote) for vote in VOTES] for unit in units]).reshape(-1, len(VOTES))
    pairable = counts[counts.sum(1) > 1].sum(0)
    found = krippendorff_alpha(units)
    if (pairable > 0).sum() < 2:
        assert found is None
    else:
        assert found == pytest.approx(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def test_full_agreement_is_one_and_sameness_is_not_defined() -> None:
    assert krippendorff_alpha([["clean"] * 3, ["noise"] * 3]) == 1
    assert krippendorff_alpha([["clean", "clean"]]) is None and krippendorff_alpha([["clean"], []]) is None


def sets(count: int) -> list[SampleSet]:
    return [SampleSet("mamba", 0, 16 * i, 16, "0" * 64) for i in range(count)]


def test_the_judge_is_compared_with_votes_that_say_something() -> None:
    seen = sets(4)
    words = dict(zip(seen[:3], ("clean", "noise", "noise"), strict=True))  # the fourth set cannot be read
    votes = [Judgement("Ann", one, vote) for one, vote in zip(seen, ("clean", "clean", "unsure", "noise"), strict=True)]
    found = with_judge(votes, words)
    assert (found.agree, found.votes) == (0.5, 2)
    assert found.alpha == krippendorff_alpha([("clean", "clean"), ("clean", "noise")])
    assert with_judge([], words) == (None, None, 0)


def test_one_person_agrees_with_nobody() -> None:
    votes = [Judgement("Ann", one, "clean") for one in sets(3)]
    assert between_people(votes) == (None, 1)
    both = [*votes, *(Judgement("Bob", one, "unsure") for one in sets(2))]
    assert between_people(both).people == 2 and (between_people(both).alpha or 0) < 0


@given(st.lists(st.sampled_from(VOTES)))
def test_votes_are_counted(votes: list[str]) -> None:
    counted = tally(votes)
    assert counted.total == len(votes)
    assert counted.share == (votes.count("clean") / len(votes) if votes else None)


# ---- the bar where people decide


BAR = load_protocol("smoke", ["bar.measure=human", "bar.votes=4", "bar.clean=0.5"]).bar


@pytest.mark.parametrize(
    "votes,passes",
    [(Tally(2, 2), True), (Tally(2, 1, 1), True), (Tally(1, 1, 2), False), (Tally(3), False), (Tally(), False)],
)
def test_the_bar_takes_enough_votes_and_enough_that_say_clean(votes: Tally, passes: bool) -> None:
    assert all(check.passed for check in check_votes(BAR, votes)) == passes


def test_there_is_no_share_while_votes_are_missing() -> None:
    shares = [check_votes(BAR, votes)[1].observed for votes in (Tally(), Tally(3), Tally(1, 3))]
    assert shares == ["-", "-", 0.25]


@given(st.integers(1, 400))
def test_sets_of_sessions_are_disjoint_and_inside(samples: int) -> None:
    sessions = sets_by_session(samples)
    covered = [i for places in sessions for first, size in places for i in range(first, first + size)]
    assert covered == list(range(len(covered))) and 1 <= len(covered) <= samples
    assert samples - len(covered) < max(SAMPLES * SETS, 1) and {len(places) for places in sessions} <= {1, SETS}
    assert all(1 <= size <= SAMPLES for places in sessions for _, size in places)


def evidence(name: str, seed: int, votes: Tally, completed: bool = True) -> Evidence:
    waits = f"human judgements of {name}-s{seed} ({votes.total} of 4 votes)" if completed and votes.total < 4 else None
    checks = check_votes(BAR, votes) if completed else ()
    figures, costs = {"loss": 1.0} if completed else {}, {"step_time_ms": 10.0, "peak_memory_mib": 100.0}
    return Evidence(name, seed, completed, checks, figures, costs, waits_for=waits)


def test_the_verdict_waits_for_votes_and_then_decides() -> None:
    planned, rule = {"a": [0, 1], "b": [0, 1]}, Rule(evidence="point")
    votes = {("a", 0): Tally(4), ("b", 0): Tally(0, 4), ("a", 1): Tally(4), ("b", 1): Tally(0, 1)}
    verdict = decide(rule, [evidence(*trial, one) for trial, one in votes.items()], planned)
    assert verdict.outcome == "incomplete" and verdict.winner is None
    assert verdict.missing == ["human judgements of b-s1 (1 of 4 votes)"]
    assert headline(verdict) == "incomplete: 1 trial waits for human judgements."
    assert criteria_table(verdict)["Quality bar"]["b"] == "0 of 2 seeds pass, 1 waits for votes"
    alone = decide(rule, [evidence(*trial, one) for trial, one in votes.items()][:3], planned)
    assert len(alone.missing) == 1 and headline(alone) == "incomplete: 1 part of the run is missing."
    assert verdict.so_far is not None and verdict.so_far.winner == "a"  # on the seed that all votes are there for
    votes["b", 1] = Tally(0, 4)
    verdict = decide(rule, [evidence(*trial, one) for trial, one in votes.items()], planned)
    assert (verdict.outcome, verdict.winner) == ("winner", "a")
    assert verdict.backbones["b"].outcome == "eliminated"


def test_a_diverged_trial_fails_and_waits_for_nobody() -> None:
    verdict = decide(
        Rule(evidence="point"),
        [evidence("a", 0, Tally(4)), evidence("b", 0, Tally(), completed=False)],
        {"a": [0], "b": [0]},
    )
    assert (verdict.winner, verdict.backbones["b"].outcome) == ("a", "eliminated")


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=3))
def test_no_verdict_names_a_winner_while_a_trial_lacks_votes(counts: list[tuple[int, int, int]]) -> None:
    records = [evidence(name, 0, Tally(*votes)) for name, votes in zip("abc", counts, strict=True)]
    verdict = decide(Rule(evidence="point"), records, {"a": [0], "b": [0], "c": [0]})
    lacking = [f"human judgements of {name}-s0" for name, votes in zip("abc", counts, strict=True) if sum(votes) < 4]
    assert [text.split(" (")[0] for text in verdict.missing] == lacking
    assert (verdict.outcome == "incomplete") == bool(lacking)
