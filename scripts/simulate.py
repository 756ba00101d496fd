"""Counts what the statistics promise: coverage of intervals, false winners, and what a number of seeds can show.

    make simulations        # writes docs/results/simulations.md; some minutes

Backbones are drawn, not trained. A seed's log loss is a common part (the seed) plus each backbone's own part of
standard deviation `sigma / sqrt(2)`, so that differences have the spread `sigma`; a seed passes the bar with
probability `passes`, and diverges with probability `diverges`. Shares of test items: see `draw_shares`.
"""

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from bakeoff.protocol.figures import LOSS, Figure
from bakeoff.protocol.measurement import Check, Evidence
from bakeoff.protocol.rule import decide
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.statistics import Difference, paired_difference, share_stderr, unpaired_difference
from bakeoff.protocol.verdict import Verdict

PAGE = Path(__file__).parents[1] / "docs/results/simulations.md"
SEED = 20260101
RUNS = 2000
INTERVALS = 20_000
FEWER = 1000  # of what is many cases
RULE = Rule(evidence="seeds")
ACCURACY = Figure("accuracy", "accuracy", "higher", low=0, high=1, of="items")
FIGURES = {"loss": LOSS, "accuracy": ACCURACY}
MARGIN = 0.02
SHARES = Rule(evidence="seeds", quality="accuracy", scale="difference", quality_margin=MARGIN)
ITEMS = 1000
PLACES = {"at chance": 0.1, "in the middle": 0.5, "near the ceiling": 0.98, "at the ceiling": 1.0}
KINDS = ("fresh for every trial", "the same for all seeds", "the same for all trials")
CHECK = Check("bar", 1.0, 0.8, True)


# ---- losses


def coverage(seeds: int, kind: str, draws: int, rng: np.random.Generator) -> float:
    """Share of nominal 95 % intervals that hold the true difference, zero."""
    hits = 0
    for _ in range(draws):
        common = rng.normal(size=seeds)
        a, b = common + 0.3 * rng.normal(size=seeds), common + 0.3 * rng.normal(size=seeds)
        if kind == "Welch, unequal spread":
            a, b = rng.normal(size=seeds), 2 * rng.normal(size=seeds)
        elif kind == "Welch":
            a, b = rng.normal(size=seeds), rng.normal(size=seeds)
        difference = paired_difference if kind == "paired" else unpaired_difference
        one = difference(a.tolist(), b.tolist())
        hits += holds(one, 0.0)
    return hits / draws


def holds(one: Difference, truth: float) -> bool:
    low, high = one.interval(0.95)
    return low <= truth <= high


def draw_run(
    rng: np.random.Generator,
    backbones: int,
    seeds: int,
    sigma: float,
    passes: float = 1.0,
    diverges: float = 0.0,
    gap: float = 0.0,
    rule: Rule = RULE,
) -> Verdict:
    """The verdict on one drawn run; the first backbone's true loss is `gap` lower than the others'."""
    common, evidence = rng.normal(scale=0.05, size=seeds), []
    for index in range(backbones):
        own = rng.normal(scale=sigma / math.sqrt(2), size=seeds) + (math.log1p(-gap) if index == 0 else 0.0)
        for seed in range(seeds):
            completed, passed = rng.random() >= diverges, bool(rng.random() < passes)
            evidence.append(
                Evidence(
                    f"b{index}",
                    seed,
                    completed,
                    (replace(CHECK, passed=passed),) if completed else (),
                    {"loss": math.exp(common[seed] + own[seed])} if completed else {},
                    {"step_time_ms": 10.0, "peak_memory_mib": 500 + 5 * rng.normal()},
                )
            )
    return decide(rule, evidence, {f"b{index}": range(seeds) for index in range(backbones)})


# ---- shares of test items


def draw_shares(
    rng: np.random.Generator, backbones: int, seeds: int, share: float, spread: float, kind: str, gap: float = 0.0
) -> np.ndarray:
    """(backbones, seeds) shares of test items that come out right: of true mean `share`, the first `gap` higher.

    A trial's own chance to be right is the mean plus a normal part of standard deviation `spread`, cut off alike on
    both sides so that the mean stays. An item is right where its draw, uniform in [0, 1], is below this chance. The
    items are fresh for every trial; or the same for all seeds of a backbone, while two backbones fail on different
    ones, which is the worst there is, since seeds then say nothing of the items' error; or the same for all trials.
    """
    mean = np.array([share + gap] + [share] * (backbones - 1))[:, None]
    room = np.minimum(mean, 1 - mean)
    chance = mean + np.clip(spread * rng.normal(size=(backbones, seeds)), -room, room)
    if kind == KINDS[0]:
        return rng.binomial(ITEMS, chance) / ITEMS
    draws = rng.random((1 if kind == KINDS[2] else backbones, ITEMS))
    return np.stack([(draws[i % len(draws)] < chance[i][:, None]).mean(-1) for i in range(backbones)])


def difference_of_shares(a: np.ndarray, b: np.ndarray) -> Difference:
    plain = paired_difference(a.tolist(), b.tolist())
    return replace(plain, item_stderr=share_stderr([a.mean(), b.mean()], [ITEMS, ITEMS]))


def coverage_of_shares(
    seeds: int, share: float, spread: float, kind: str, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Shares of nominal 95 % intervals that hold the true difference, zero: as claimed, and by seeds alone."""
    claimed = alone = 0
    for _ in range(draws):
        one = difference_of_shares(*draw_shares(rng, 2, seeds, share, spread, kind))
        claimed += holds(one, 0.0)
        alone += holds(replace(one, item_stderr=0.0), 0.0)
    return claimed / draws, alone / draws


def spread_of_items(share: float, seeds: int) -> float:
    """The spread over seeds whose error, of the mean over seeds, is as large as that of the items."""
    return math.sqrt(seeds * share * (1 - share) / ITEMS)


def judge_shares(shares: np.ndarray, rng: np.random.Generator, rule: Rule = SHARES, passes: float = 1.0) -> Verdict:
    """The verdict on drawn shares."""
    evidence = [
        Evidence(
            f"b{i}",
            seed,
            True,
            (replace(CHECK, passed=bool(rng.random() < passes)),),
            {"accuracy": float(value)},
            {"step_time_ms": 10.0, "peak_memory_mib": 500 + 5 * rng.normal()},
            ITEMS,
        )
        for i, row in enumerate(shares)
        for seed, value in enumerate(row)
    ]
    return decide(rule, evidence, {f"b{i}": range(shares.shape[1]) for i in range(len(shares))}, FIGURES)


# ---- what is counted


def by_quality(verdict: Verdict) -> bool:
    """A winner, and neither cost nor memory decided."""
    return verdict.winner is not None and verdict.steps[-1].criterion != "lower peak memory"


def false_winners(runs: int, rng: np.random.Generator, **scenario: object) -> tuple[float, float]:
    """Shares of runs of identical backbones that name a winner by quality, and by anything."""
    verdicts = [draw_run(rng, **scenario) for _ in range(runs)]  # type: ignore[arg-type]
    return sum(map(by_quality, verdicts)) / runs, sum(verdict.winner is not None for verdict in verdicts) / runs


def false_winners_of_shares(
    runs: int, rng: np.random.Generator, backbones: int, seeds: int, share: float, kind: str, passes: float = 1.0
) -> float:
    """Share of runs of identical backbones that name a winner by quality."""
    spread = spread_of_items(share, seeds)
    drawn = (draw_shares(rng, backbones, seeds, share, spread, kind) for _ in range(runs))
    return sum(by_quality(judge_shares(shares, rng, passes=passes)) for shares in drawn) / runs


def false_beats(runs: int, rng: np.random.Generator, draw: Callable[[], Verdict]) -> tuple[float, float]:
    """Shares of runs in which some backbone is called better than the reference, and worse."""
    better = worse = 0
    for _ in range(runs):
        outcomes = {one.outcome for one in draw().backbones.values()}
        better += "better" in outcomes
        worse += "worse" in outcomes
    return better / runs, worse / runs


def shares_of_outcomes(runs: int, draw: Callable[[], Verdict]) -> Counter[str]:
    """How often the comparison of two backbones comes out as what."""
    return Counter(draw().comparisons[0].outcome for _ in range(runs))


# ---- the page


def page() -> str:
    rng = np.random.default_rng(SEED)
    parts = [_head(), _coverage(rng), _coverage_of_shares(rng), _false_winners(rng), _false_winners_of_shares(rng)]
    parts += [_reference(rng), _shown(rng), _shown_of_shares(rng)]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _head() -> Iterator[str]:
    yield "# What the statistics promise, counted\n"
    yield f"Made by `make simulations` (`scripts/simulate.py`, seed {SEED}). Backbones are drawn, not trained; the"
    yield "intervals, tests and the rule are those of the package."


def _percent(*values: float) -> str:
    return " | ".join(f"{100 * value:.1f} %" for value in values)


def _coverage(rng: np.random.Generator) -> Iterator[str]:
    yield f"## Coverage of nominal 95 % intervals ({INTERVALS:,} each; sampling error 0.15 points)\n"
    yield "| seeds | paired | Welch | Welch, unequal spread |\n|---|---|---|---|"
    for seeds in (3, 5, 8):
        kinds = ("paired", "Welch", "Welch, unequal spread")
        yield f"| {seeds} | {_percent(*(coverage(seeds, kind, INTERVALS, rng) for kind in kinds))} |"


def _coverage_of_shares(rng: np.random.Generator) -> Iterator[str]:
    yield f"## Coverage where quality is a share of {ITEMS:,} test items ({FEWER:,} each; sampling error 0.7 points)\n"
    yield "Two identical backbones. `seeds alone`: the t-interval on the spread over seeds, which is not claimed: where"
    yield "the items are the same for all seeds it knows nothing of their error, and at the ceiling it has no width."
    yield "Spread over seeds: none, or so large that its error is that of the items.\n"
    yield "| items | share | seeds | no spread: claimed | seeds alone | spread: claimed | seeds alone |"
    yield "|---|---|---|---|---|---|---|"
    for kind in KINDS:
        for place, share in PLACES.items():
            for seeds in (3, 5, 8, 20):
                spreads = (0.0, spread_of_items(share, seeds))
                row = [rate for s in spreads for rate in coverage_of_shares(seeds, share, s, kind, FEWER, rng)]
                yield f"| {kind} | {share:g}, {place} | {seeds} | {_percent(*row)} |"


def _false_winners(rng: np.random.Generator) -> Iterator[str]:
    yield f"## False winners among identical backbones ({RUNS:,} runs each)\n"
    yield "Same losses, same step time, same chance to pass the bar: whoever wins, wins by chance. `by quality`: by the"
    yield "bar, the quality margin or the tie-break by loss; `at all`: by memory, too.\n"
    yield "| backbones | seeds | spread of log losses | passes the bar | diverges | by quality | at all |"
    yield "|---|---|---|---|---|---|---|"
    cases = ((0.01, 1.0, 0.0), (0.1, 1.0, 0.0), (1.0, 1.0, 0.0), (0.01, 0.5, 0.0), (0.01, 0.65, 0.0), (0.03, 0.8, 0.1))
    worst = 0.0
    for backbones in (2, 3, 5):
        for seeds in (2, 3, 5, 8):
            for sigma, passes, diverges in cases:
                found = false_winners(
                    RUNS, rng, backbones=backbones, seeds=seeds, sigma=sigma, passes=passes, diverges=diverges
                )
                worst = max(worst, found[0])
                yield f"| {backbones} | {seeds} | {sigma:g} | {passes:g} | {diverges:g} | {_percent(*found)} |"
    narrow = Rule(evidence="seeds", quality_margin=0.001)
    rate = false_winners(2 * RUNS, rng, backbones=2, seeds=20, sigma=0.3, passes=0.6, rule=narrow)[0]
    yield f"\nWorst rate by quality: {100 * worst:.1f} % (promised: at most 5 %; sampling error at 5 %: 0.5 points)."
    yield "Where the margin is small against the spread, so that the quality margin errs as often as the tie-break (two"
    yield f"backbones, 20 seeds, margin 0.1 %, spread 0.3, passes 0.6): {100 * rate:.1f} %."


def _false_winners_of_shares(rng: np.random.Generator) -> Iterator[str]:
    yield f"## False winners where quality is a share of test items ({FEWER:,} runs each)\n"
    yield f"Identical backbones, {ITEMS:,} items, a margin of {MARGIN:g} by difference, the spread over seeds as above;"
    yield "`bar`: every seed passes the bar with a chance of 0.65.\n"
    yield "| items | share | backbones | seeds | by quality | by quality, bar |\n|---|---|---|---|---|---|"
    worst = 0.0
    for kind in KINDS:
        for place, share in PLACES.items():
            for backbones, seeds in ((2, 3), (2, 8), (3, 5)):
                found = [
                    false_winners_of_shares(FEWER, rng, backbones, seeds, share, kind, passes) for passes in (1.0, 0.65)
                ]
                worst = max(worst, *found)
                yield f"| {kind} | {share:g}, {place} | {backbones} | {seeds} | {_percent(*found)} |"
    yield f"\nWorst rate: {100 * worst:.1f} % (promised: at most 5 %; sampling error at 5 %: 0.7 points)."


def _reference(rng: np.random.Generator) -> Iterator[str]:
    yield f"## False answers against one reference ({RUNS:,} runs each)\n"
    reference = "All backbones are identical to the reference (`rule.against`)."
    yield f"{reference} Counted are runs in which any is called better"
    yield "by quality or by the bar, and runs in which any is called worse.\n"
    yield "| quality | backbones beside it | seeds | passes the bar | better | worse |\n|---|---|---|---|---|---|"
    worst = 0.0
    losses, narrow = (Rule(evidence="seeds", against="b0", quality_margin=margin) for margin in (0.1, 0.001))
    shares = SHARES.model_copy(update={"against": "b0"})
    for others in (1, 4):
        for seeds in (3, 8):
            for passes in (1.0, 0.65):
                n = others + 1
                cases: dict[str, Callable[[], Verdict]] = {
                    "loss, spread 0.1, margin 10 %": lambda: draw_run(rng, n, seeds, 0.1, passes, rule=losses),  # noqa: B023
                    "loss, spread 0.1, margin 0.1 %": lambda: draw_run(rng, n, seeds, 0.1, passes, rule=narrow),  # noqa: B023
                    f"share 0.5, margin {MARGIN:g}, items {KINDS[1]}": lambda: judge_shares(
                        draw_shares(rng, n, seeds, 0.5, 0.02, KINDS[1]),  # noqa: B023
                        rng,
                        shares,
                        passes,  # noqa: B023
                    ),
                }
                for name, draw in cases.items():
                    found = false_beats(RUNS, rng, draw)
                    worst = max(worst, found[0])
                    yield f"| {name} | {others} | {seeds} | {passes:g} | {_percent(*found)} |"
    yield f'\nWorst rate of a false "better": {100 * worst:.1f} % (promised: at most 5 %).'


OUTCOMES = ("first", "equivalent", "inconclusive", "second")


def _shown(rng: np.random.Generator) -> Iterator[str]:
    yield f"## What two backbones' losses can show ({RUNS:,} runs each, margin {100 * RULE.quality_margin:g} %)\n"
    yield "| true gap | spread of log losses | seeds | better | equivalent | inconclusive | the worse named better |"
    yield "|---|---|---|---|---|---|---|"
    for gap in (0.0, 0.05, 0.10, 0.15, 0.25):
        for sigma in (0.01, 0.03):
            for seeds in (3, 5, 8):
                found = shares_of_outcomes(RUNS, lambda: draw_run(rng, 2, seeds, sigma, gap=gap))  # noqa: B023
                row = _percent(*(found[one] / RUNS for one in OUTCOMES))
                yield f"| {100 * gap:g} % | {sigma:g} | {seeds} | {row} |"


def _shown_of_shares(rng: np.random.Generator) -> Iterator[str]:
    yield f"## What two shares can show ({RUNS:,} runs each, {ITEMS:,} items)\n"
    yield "Margins by difference; the items are the same for all seeds, the spread over seeds is 0.005. At a gap of"
    yield "exactly the margin neither `better` nor `equivalent` is true.\n"
    yield "| margin | true gap | share | seeds | better | equivalent | inconclusive | the worse named better |"
    yield "|---|---|---|---|---|---|---|---|"
    worst = 0.0
    for margin in (MARGIN, 5 * MARGIN):
        rule = SHARES.model_copy(update={"quality_margin": margin})
        for gap in (0.0, margin, 2 * margin):
            for share in (0.1, 0.5, 0.78):
                for seeds in (3, 8):
                    found = shares_of_outcomes(
                        RUNS,
                        lambda: judge_shares(draw_shares(rng, 2, seeds, share, 0.005, KINDS[1], gap), rng, rule),  # noqa: B023
                    )
                    worst = max(worst, found["first"] + found["equivalent"] if gap == margin else 0)
                    row = _percent(*(found[one] / RUNS for one in OUTCOMES))
                    yield f"| {margin:g} | {gap:g} | {share:g} | {seeds} | {row} |"
    yield f"\nWorst rate of a false claim at the margin: {100 * worst / RUNS:.1f} % (promised: at most 6.7 %, 5 % for"
    yield "`equivalent` and a third of that for `better`)."


if __name__ == "__main__":
    text = page()
    PAGE.write_text(text)
    sys.stdout.write(text)
