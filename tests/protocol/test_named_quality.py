"""The rule on any named figure: shares and their test items, differences, other costs, a reference, groups."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bakeoff.errors import BakeoffError
from bakeoff.protocol.figures import LOSS, Figure
from bakeoff.protocol.measurement import Check, Evidence
from bakeoff.protocol.rule import decide
from bakeoff.protocol.scaling import Scale
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.statistics import holm, paired_difference, share_stderr
from bakeoff.protocol.verdict import Verdict, criteria_table, headline

ACCURACY = Figure("accuracy", "accuracy", "higher", low=0, high=1, of="items")
SCORE = Figure("score", "score", "higher", unit="points")
KNOWN = {"loss": LOSS, "accuracy": ACCURACY, "score": SCORE}
RULE = Rule(evidence="seeds", quality="accuracy", scale="difference", quality_margin=0.02)
CHECK = (Check("accuracy", 1.0, 0.0, True),)


def backbone(name, values, figure="accuracy", items=10_000, step=10.0, passed=True, group="", **costs):
    checks = CHECK if passed else (replace(CHECK[0], passed=False),)
    known = {"step_time_ms": step, "peak_memory_mib": 100.0, **costs}
    return [
        Evidence(name, seed, True, checks, {figure: value, "loss": 1.0}, known, items, group)
        for seed, value in enumerate(values)
    ]


def judge(*backbones: list[Evidence], rule: Rule = RULE) -> Verdict:
    planned = {records[0].backbone: [record.seed for record in records] for records in backbones}
    return decide(rule, [record for records in backbones for record in records], planned, KNOWN)


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {name: result.outcome for name, result in verdict.backbones.items()}


# ---- directions, scales and margins


def test_higher_accuracy_wins_and_says_so_in_its_own_unit() -> None:
    verdict = judge(backbone("a", (0.90, 0.91, 0.89), step=30), backbone("b", (0.80, 0.81, 0.79), step=10))
    assert verdict.winner == "a"
    assert "accuracy 0.1 below a's" in verdict.backbones["b"].reason
    table = criteria_table(verdict)
    assert table["Accuracy"] == {"a": "0.9 (best)", "b": "0.8 (worst)"} and "Accuracy, interval" in table
    (step,) = (step for step in verdict.steps if step.kind == "quality")
    assert str(step.observed).startswith("+0.1 (") and step.threshold == "-0.02 to +0.02"


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0, 1), st.sampled_from(["ratio", "difference"]))
def test_a_figure_turned_upside_down_compares_alike(a: float, b: float, margin: float, kind) -> None:
    """1/x by ratio and -x by difference, higher is better, is x, lower is better."""
    low, high = (Scale(Figure("x", "x", better), kind, margin) for better in ("lower", "higher"))
    turned = (lambda x: 1 / x) if kind == "ratio" else (lambda x: -x)
    for x in (a, b):
        assert low.scaled(x) == pytest.approx(high.scaled(turned(x)), rel=1e-9, abs=1e-9)
    for scale in (low, high):
        best, threshold = scale.scaled(a), scale.scaled(t) if (t := scale.threshold(a)) > 0 or kind != "ratio" else None
        assert best is not None and threshold == pytest.approx(best + scale.bound, rel=1e-9, abs=1e-9)
        assert scale.within(scale.threshold(a), a)


def test_margins_of_differences_are_inclusive_on_points() -> None:
    rule = Rule(quality="score", scale="difference", quality_margin=2.0)
    slow, near, far = (backbone(*one, figure="score") for one in (("a", [50.0]), ("b", [48.0]), ("c", [47.75])))
    fast = [replace(one, costs={"step_time_ms": 5.0}) for one in near]
    assert judge(slow, fast, rule=rule).winner == "b"
    assert judge(slow, [replace(one, costs={"step_time_ms": 5.0}) for one in far], rule=rule).winner == "a"
    verdict = judge(slow, far, rule=rule)
    assert verdict.backbones["c"].reason == "score 2.25 points below a's (margin 2 points)"


def test_any_cost_can_decide() -> None:
    a = backbone("a", (0.9, 0.9, 0.9), step=10, sampling_time_s=9.0)
    b = backbone("b", (0.9, 0.9, 0.9), step=99, sampling_time_s=3.0)
    rule = RULE.model_copy(update={"cost": "sampling_time_s"})
    assert judge(a, b, rule=rule).winner == "b" and judge(a, b).winner == "a"
    assert "its sampling time is 200.0 % above b's" in judge(a, b, rule=rule).backbones["a"].reason


@pytest.mark.parametrize("evidence", ["point", "seeds"])
def test_a_ratio_of_zeros_is_inconclusive_and_says_so(evidence) -> None:
    zero = [replace(one, figures={"loss": 0.0}) for one in backbone("a", (0.9, 0.9))]
    verdict = judge(zero, backbone("b", (0.9, 0.9)), rule=Rule(evidence=evidence))
    assert verdict.outcome == "inconclusive" and "a ratio of zeros: the loss of a" in headline(verdict)


def test_a_rule_that_cannot_be_read_is_refused() -> None:
    for rule, said in (
        (Rule(quality="accuracy"), "no meaningful ratio"),
        (Rule(quality="score"), "may be negative"),
        (Rule(quality="accurracy", scale="difference"), "did you mean accuracy"),
    ):
        with pytest.raises(BakeoffError, match=said):
            judge(backbone("a", (0.9,)), rule=rule)


# ---- shares and their test items


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 10_000))
def test_the_error_of_items_is_agresti_and_coulls(p: float, q: float, n: int) -> None:
    drawn_in = [(x * n + 2) / (n + 4) for x in (p, q)]
    assert share_stderr([p, q], [n, n]) ** 2 == pytest.approx(sum(x * (1 - x) / n for x in drawn_in))
    assert share_stderr([p], [n]) >= share_stderr([p], [2 * n]) > 0


SHARES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8)


@given(SHARES, st.integers(10, 5000), st.floats(0.6, 0.99), st.floats(0, 0.2))
def test_no_claim_is_stronger_than_seeds_or_items_allow(pairs, items: int, confidence: float, bound: float) -> None:
    a, b = zip(*pairs, strict=True)
    plain = paired_difference(a, b)
    error = share_stderr([sum(a) / len(a), sum(b) / len(b)], [items, items])
    both = replace(plain, item_stderr=error)
    low, high = both.interval(confidence)
    seeds = plain.interval(confidence)
    binomial = stats.norm.interval(confidence, plain.mean, error)
    assert low <= min(seeds[0], binomial[0]) + 1e-12 and high >= max(seeds[1], binomial[1]) - 1e-12
    for p, of_seeds, of_items in (
        (both.p_below(-bound), plain.p_below(-bound), stats.norm.cdf((plain.mean + bound) / error)),
        (both.p_above(bound), plain.p_above(bound), stats.norm.sf((plain.mean - bound) / error)),
    ):
        assert p >= of_seeds
        if of_items < 0.5:
            assert p >= of_items - 1e-12


def test_at_the_ceiling_nothing_is_shown_that_the_items_cannot_show() -> None:
    perfect = (1.0, 1.0, 1.0)
    few = judge(backbone("a", perfect, items=100), backbone("b", perfect, items=100, step=99))
    assert few.outcome == "inconclusive" and few.comparisons[0].outcome == "inconclusive"
    assert "more test items" in headline(few)
    many = judge(backbone("a", perfect, items=2000), backbone("b", perfect, items=2000, step=99))
    assert many.winner == "a" and many.comparisons[0].outcome == "equivalent"
    unknown = judge(backbone("a", perfect, items=None), backbone("b", perfect, items=2000))
    assert unknown.outcome == "inconclusive"
    low, high = few.backbones["a"].intervals["accuracy"] or (0, 0)
    assert low < 1 < high and high - low == pytest.approx(2 * stats.norm.isf(0.025) * share_stderr([1.0], [100]))


# ---- a reference


AGAINST = Rule(evidence="seeds", against="r", quality="accuracy", scale="difference", quality_margin=0.02)
R = backbone("r", (0.80, 0.81, 0.79, 0.80))


def test_each_is_compared_with_the_reference_and_with_nothing_else() -> None:
    verdict = judge(
        R,
        backbone("better", (0.90, 0.91, 0.89, 0.90)),
        backbone("cheaper", (0.80, 0.81, 0.79, 0.80), step=5.0),
        backbone("equal", (0.80, 0.81, 0.79, 0.80), step=10.1),
        backbone("dearer", (0.80, 0.81, 0.79, 0.80), step=50.0),
        backbone("worse", (0.70, 0.71, 0.69, 0.70)),
        backbone("unsure", (0.95, 0.60, 0.70, 0.99)),
        backbone("failed", (0.95, 0.95, 0.95, 0.95), passed=False),
        rule=AGAINST,
    )
    assert (verdict.outcome, verdict.winner, verdict.indicative) == ("compared", None, False)
    assert outcomes(verdict) == {
        "r": "reference",
        "better": "better",
        "cheaper": "cheaper",
        "equal": "equal",
        "dearer": "equal",
        "worse": "worse",
        "unsure": "inconclusive",
        "failed": "eliminated",
    }
    assert {(one.first, one.second) for one in verdict.comparisons} == {
        (name, "r") for name in ("better", "cheaper", "equal", "dearer", "worse", "unsure")
    }
    assert headline(verdict).startswith("better and cheaper beat r: better: better, accuracy +0.1 against r's")
    assert "step time 400.0 % above r's" in verdict.backbones["dearer"].reason


def test_holm_counts_the_comparisons_with_the_reference_only() -> None:
    others = [backbone(name, (0.90 + i / 100, 0.91, 0.89, 0.90)) for i, name in enumerate("abc")]
    verdict = judge(R, *others, rule=AGAINST)
    raw = [
        min(1.0, 2 * min(one.difference.p_below(-0.02), one.difference.p_above(0.02))) for one in verdict.comparisons
    ]
    assert [one.p_beyond for one in verdict.comparisons] == pytest.approx(holm(raw))


def test_a_reference_that_fails_the_bar_is_beaten_by_who_passes_it_more_often() -> None:
    failed = backbone("r", (0.8,) * 4, passed=False)
    verdict = judge(failed, backbone("a", (0.8,) * 4), rule=AGAINST)
    assert outcomes(verdict) == {"r": "eliminated", "a": "better"}
    two = judge(failed[:2], backbone("a", (0.8,) * 2), rule=AGAINST)
    assert outcomes(two)["a"] == "inconclusive" and "not shown" in two.backbones["a"].reason


def test_on_points_a_reference_gives_an_indicative_answer() -> None:
    rule = AGAINST.model_copy(update={"evidence": "point"})
    verdict = judge(R[:1], backbone("a", (0.9,)), backbone("b", (0.79,), step=5.0), rule=rule)
    assert outcomes(verdict) == {"r": "reference", "a": "better", "b": "cheaper"} and verdict.indicative
    assert "a and b beat r (indicative)" in headline(verdict)


# ---- groups


def test_groups_are_decided_within_and_never_compared() -> None:
    rule = Rule(evidence="seeds", groups="objective", quality="accuracy", scale="difference", quality_margin=0.02)
    high, low = (0.90, 0.91, 0.89), (0.70, 0.71, 0.69)
    verdict = judge(
        backbone("a", high, group="flow"),
        backbone("b", low, group="flow"),
        backbone("c", low, group="ddpm", step=5.0),
        backbone("d", low, group="ddpm"),
        rule=rule,
    )
    assert verdict.outcome == "grouped" and {name: one.winner for name, one in verdict.groups.items()} == {
        "flow": "a",
        "ddpm": "c",
    }
    assert {frozenset((one.first, one.second)) for one in verdict.comparisons} == {frozenset("ab"), frozenset("cd")}
    assert "flow: a wins" in headline(verdict) and "ddpm: c wins" in headline(verdict)


def test_what_has_no_ratio_is_not_scaled() -> None:
    assert Scale(LOSS, "ratio", 0.1).scaled(0.0) is None and Scale(LOSS, "ratio", 0.1).scaled(-1.0) is None
    assert Scale(LOSS, "ratio", 0.1).bound == math.log1p(0.1)
