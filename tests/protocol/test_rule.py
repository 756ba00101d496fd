"""The rule: the study's verdict from the study's figures, and properties that any evidence must keep."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.protocol.audit.published import evidence, load_table
from bakeoff.protocol.measurement import Check, Evidence
from bakeoff.protocol.rule import Verdict, decide
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.verdict import criteria_table

RULE = Rule()


def published(examples: Path) -> dict[str, Evidence]:
    return evidence(load_table(str(examples / "published.toml")))


def trial(name="a", seed=0, passed=True, loss=1.0, step=10.0, memory=100.0, completed=True) -> Evidence:
    checks = (Check("recognised share", 0.9 if passed else 0.1, 0.8, passed),) if completed else ()
    costs = {"step_time_ms": step, "peak_memory_mib": memory}
    known = {name: value for name, value in costs.items() if value is not None}
    return Evidence(name, seed, completed, checks, {"loss": loss} if completed else {}, known)


def judge(*evidence: Evidence, seeds=(0,), rule=RULE) -> Verdict:
    return decide(rule, evidence, {record.backbone: seeds for record in evidence})


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {name: result.outcome for name, result in verdict.backbones.items()}


def test_the_published_table_gives_the_published_verdict(examples: Path) -> None:
    verdict = judge(*published(examples).values())
    assert (verdict.outcome, verdict.winner, verdict.indicative) == ("winner", "mamba", True)
    assert outcomes(verdict) == {"mamba": "won", "hybrid": "lost", "transformer": "eliminated"}
    assert criteria_table(verdict)["Step time, ms"] == {
        "mamba": "18 (lowest)",
        "hybrid": "26 (highest)",
        "transformer": "21",
    }
    assert verdict.steps[-1].kind == "cost" and verdict.steps[-1].observed == 26


def test_a_clearly_better_loss_makes_the_hybrid_win(examples: Path) -> None:
    table = published(examples)
    better = trial("hybrid", loss=0.85 * table["mamba"].figures["loss"], step=26.0, memory=4500.0)
    verdict = judge(table["mamba"], better, table["transformer"])
    assert verdict.winner == "hybrid"
    assert outcomes(verdict) == {"mamba": "lost", "hybrid": "won", "transformer": "eliminated"}


@pytest.mark.parametrize(
    "seeds_passed,total,eliminated",
    [(0, 1, True), (1, 1, False), (1, 2, False), (0, 2, True), (1, 3, True), (2, 3, False), (2, 5, True)],
)
def test_the_majority_of_seeds_decides_the_bar(seeds_passed: int, total: int, eliminated: bool) -> None:
    seeds = tuple(range(total))
    verdict = judge(*(trial(seed=seed, passed=seed < seeds_passed) for seed in seeds), seeds=seeds)
    assert (verdict.outcome == "all_eliminated") == eliminated
    assert outcomes(verdict) == {"a": "eliminated" if eliminated else "won"}


def test_the_distance_to_the_bar_is_the_number_of_seeds_that_flip_it() -> None:
    for passed in range(6):
        records = [trial(seed=seed, passed=seed < passed) for seed in range(5)]
        verdict = judge(*records, seeds=range(5))
        step = next(step for step in verdict.steps if step.kind == "bar")
        flipped = passed - int(step.distance or 0) if step.outcome == "pass" else passed + int(step.distance or 0)
        again = judge(*(trial(seed=seed, passed=seed < flipped) for seed in range(5)), seeds=range(5))
        assert again.outcome != verdict.outcome
        nearly = flipped + (1 if step.outcome == "pass" else -1)
        same = judge(*(trial(seed=seed, passed=seed < nearly) for seed in range(5)), seeds=range(5))
        assert same.outcome == verdict.outcome


def test_a_diverged_trial_fails_the_bar_and_is_no_dropped_row() -> None:
    records = [trial(seed=0), trial(seed=1, completed=False), trial(seed=2, completed=False)]
    verdict = judge(*records, seeds=(0, 1, 2))
    assert verdict.outcome == "all_eliminated" and len(verdict.backbones["a"].seeds) == 3
    assert any(step.observed == "diverged" for step in verdict.steps)


def test_margins_are_inclusive_for_loss_and_exclusive_for_speed() -> None:
    assert judge(trial("a", loss=1.0, step=20), trial("b", loss=1.1, step=10)).winner == "b"
    assert judge(trial("a", loss=1.0, step=20), trial("b", loss=1.1001, step=10)).winner == "a"
    assert judge(trial("a", loss=1.0, step=10.5), trial("b", loss=1.05, step=10)).winner == "a"
    assert judge(trial("a", loss=1.0, step=10.51), trial("b", loss=1.05, step=10)).winner == "b"


def test_a_slow_backbone_with_a_slightly_better_loss_does_not_win_the_tie_break_of_two_fast_ones() -> None:
    verdict = judge(
        trial("slow", loss=0.99, step=30), trial("fast", loss=1.02, step=10), trial("near", loss=1.0, step=10.2)
    )
    assert verdict.winner == "near"
    assert outcomes(verdict) == {"slow": "lost", "fast": "lost", "near": "won"}


def test_equal_losses_fall_back_to_memory_and_full_equality_is_inconclusive() -> None:
    assert judge(trial("a", memory=100), trial("b", memory=90)).winner == "b"
    verdict = judge(trial("a"), trial("b"))
    assert verdict.outcome == "inconclusive" and outcomes(verdict) == {"a": "tied", "b": "tied"}


def test_without_speed_two_equal_backbones_stay_inconclusive() -> None:
    verdict = judge(trial("a", step=None), trial("b", loss=1.01))
    assert verdict.outcome == "inconclusive" and verdict.winner is None
    assert "step time not measured" in verdict.backbones["a"].reason


def test_losses_are_compared_on_the_seeds_that_all_completed() -> None:
    """a's mean over its own two seeds looks worse than b's over three; on the shared ones it is better."""
    a = [trial("a", 0, loss=1.0), trial("a", 1, loss=1.5), trial("a", 2, completed=False)]
    b = [trial("b", 0, loss=1.2), trial("b", 1, loss=1.8), trial("b", 2, loss=0.3)]
    verdict = judge(*a, *b, seeds=(0, 1, 2))
    found = {step.backbone: step.observed for step in verdict.steps if step.kind == "quality"}
    assert found == {"a": pytest.approx(1.25), "b": pytest.approx(1.5)}
    assert verdict.winner == "a"


@given(st.floats(0.5, 2.0), st.floats(1.0, 30.0))
def test_the_stated_change_of_loss_or_speed_flips_its_comparison(loss: float, step_time: float) -> None:
    def compare(loss: float, step_time: float) -> dict[str, object]:
        verdict = judge(trial("best", loss=1.0, step=10.0), trial("b", loss=loss, step=step_time))
        return {step.kind: step for step in verdict.steps if step.backbone == "b"}

    first = compare(loss, step_time)
    for criterion, observed in (("quality", loss), ("cost", step_time)):
        step = first.get(criterion)
        if step is None or step.distance is None or not 1e-6 < step.distance < 0.9:
            continue
        reach = 1 + (1 if observed < step.threshold else -1) * step.distance
        beyond, short = (observed * (1 + (reach - 1) * part) for part in (1.0001, 0.9999))
        change = (lambda x: compare(x, step_time)) if criterion == "quality" else (lambda x: compare(loss, x))
        if criterion in change(beyond):
            assert change(beyond)[criterion].outcome != step.outcome
        assert change(short)[criterion].outcome == step.outcome


def test_missing_trials_are_incomplete_with_an_indicative_answer_on_the_shared_seeds() -> None:
    records = [trial("a", 0), trial("b", 0, step=5), trial("a", 1)]
    verdict = decide(RULE, records, {"a": (0, 1), "b": (0, 1)})
    assert verdict.outcome == "incomplete" and verdict.missing == ["b-s1"]
    assert verdict.so_far is not None and verdict.so_far.winner == "b" and verdict.so_far.indicative
    assert outcomes(verdict) == {"a": "inconclusive", "b": "inconclusive"}
    assert decide(RULE, [], {"a": (0,), "b": (0,)}).so_far is None


EVIDENCE = st.lists(
    st.builds(
        trial,
        passed=st.booleans(),
        completed=st.booleans(),
        loss=st.floats(0.01, 10),
        step=st.one_of(st.none(), st.floats(0.1, 100)),
        memory=st.one_of(st.none(), st.floats(1, 1000)),
    ),
    min_size=1,
    max_size=5,
)


@given(EVIDENCE, st.randoms(), st.floats(0, 1), st.floats(0, 1))
def test_every_verdict_is_whole_and_does_not_depend_on_the_order_of_backbones(records, random, loss, speed) -> None:
    named = [Evidence(f"b{i}", *list(vars(record).values())[1:]) for i, record in enumerate(records)]
    rule = Rule(quality_margin=loss, cost_margin=speed)
    verdict = judge(*named, rule=rule)
    shuffled = named.copy()
    random.shuffle(shuffled)
    assert outcomes(judge(*shuffled, rule=rule)) == outcomes(verdict)
    found = outcomes(verdict)
    assert (verdict.outcome == "winner") == (list(found.values()).count("won") == 1) == (verdict.winner is not None)
    assert (verdict.outcome == "all_eliminated") == (set(found.values()) == {"eliminated"})
    assert all(result.reason for result in verdict.backbones.values())
    for name, record in zip(found, named, strict=True):
        assert record.passed == (found[name] != "eliminated")
    if verdict.winner is not None:
        passing = [record.figures["loss"] for record in named if record.passed]
        winning = verdict.backbones[verdict.winner].loss
        assert winning is not None and winning <= min(passing) * (1 + loss)
