"""Counts what the statistics promise: coverage of the intervals, false winners, and what a number of seeds can show.

    make simulations        # writes docs/results/simulations.md; some minutes

Backbones are drawn, not trained: a seed's log loss is a common part (the seed) plus each backbone's own part of
standard deviation `sigma / sqrt(2)`, so that differences have the spread `sigma`; a seed passes the bar with
probability `passes`, and diverges with probability `diverges`.
"""

import math
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from bakeoff.protocol.measurement import Check, Evidence
from bakeoff.protocol.rule import decide
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.statistics import paired_difference, unpaired_difference
from bakeoff.protocol.verdict import Verdict

PAGE = Path(__file__).parents[1] / "docs/results/simulations.md"
SEED = 20260101
RUNS = 2000
INTERVALS = 20_000
RULE = Rule(evidence="seeds")


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
        low, high = one.interval(0.95)
        hits += low <= 0 <= high
    return hits / draws


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
                    (Check("recognised share", 1.0 if passed else 0.0, 0.8, passed),) if completed else (),
                    math.exp(common[seed] + own[seed]) if completed else None,
                    step_time_ms=10.0,
                    peak_memory_mb=500 + 5 * rng.normal(),
                )
            )
    return decide(rule, evidence, {f"b{index}": range(seeds) for index in range(backbones)})


def by_quality(verdict: Verdict) -> bool:
    """A winner, and neither speed nor memory decided."""
    return verdict.winner is not None and verdict.steps[-1].criterion != "lower memory"


def false_winners(runs: int, rng: np.random.Generator, **scenario: object) -> tuple[float, float]:
    """Shares of runs of identical backbones that name a winner by quality, and by anything."""
    verdicts = [draw_run(rng, **scenario) for _ in range(runs)]  # type: ignore[arg-type]
    return sum(map(by_quality, verdicts)) / runs, sum(verdict.winner is not None for verdict in verdicts) / runs


def _narrow(rng: np.random.Generator) -> float:
    rule = Rule(evidence="seeds", loss_margin=0.001)
    return false_winners(2 * RUNS, rng, backbones=2, seeds=20, sigma=0.3, passes=0.6, rule=rule)[0]


def shares(runs: int, rng: np.random.Generator, **scenario: object) -> Counter[str]:
    """How often the comparison of two backbones comes out as what."""
    found: Counter[str] = Counter()
    for _ in range(runs):
        found[draw_run(rng, backbones=2, **scenario).comparisons[0].outcome] += 1  # type: ignore[arg-type]
    return found


def page() -> str:
    rng = np.random.default_rng(SEED)
    lines = [
        "# What the statistics promise, counted",
        "",
        f"Made by `make simulations` (`scripts/simulate.py`, seed {SEED}). Backbones are drawn, not trained; the",
        "intervals, tests and the rule are those of the package.",
        "",
        f"## Coverage of nominal 95 % intervals ({INTERVALS:,} each; sampling error 0.15 points)",
        "",
        "| seeds | paired | Welch | Welch, unequal spread |",
        "|---|---|---|---|",
    ]
    for seeds in (3, 5, 8):
        row = [
            f"{100 * coverage(seeds, kind, INTERVALS, rng):.1f} %"
            for kind in ("paired", "Welch", "Welch, unequal spread")
        ]
        lines.append(f"| {seeds} | {' | '.join(row)} |")
    lines += [
        "",
        f"## False winners among identical backbones ({RUNS:,} runs each)",
        "",
        "Same losses, same step time, same chance to pass the bar: whoever wins, wins by chance. `by quality`: by the",
        "bar, the loss margin or the loss tie-break; `at all`: by memory, too.",
        "",
        "| backbones | seeds | spread of log losses | passes the bar | diverges | by quality | at all |",
        "|---|---|---|---|---|---|---|",
    ]
    worst = 0.0
    for backbones in (2, 3, 5):
        for seeds in (2, 3, 5, 8):
            for sigma, passes, diverges in (
                (0.01, 1.0, 0.0),
                (0.1, 1.0, 0.0),
                (1.0, 1.0, 0.0),
                (0.01, 0.5, 0.0),
                (0.01, 0.65, 0.0),
                (0.03, 0.8, 0.1),
            ):
                quality, at_all = false_winners(
                    RUNS, rng, backbones=backbones, seeds=seeds, sigma=sigma, passes=passes, diverges=diverges
                )
                worst = max(worst, quality)
                lines.append(
                    f"| {backbones} | {seeds} | {sigma:g} | {passes:g} | {diverges:g} "
                    f"| {100 * quality:.1f} % | {100 * at_all:.1f} % |"
                )
    lines += [
        "",
        f"Worst rate by quality: {100 * worst:.1f} % (promised: at most 5 %; the sampling error at 5 % is 0.5 points).",
        "Where the margin is small against the spread, so that the loss margin errs as often as the tie-break (two",
        f"backbones, 20 seeds, margin 0.1 %, spread 0.3, passes 0.6): {100 * _narrow(rng):.1f} %.",
        "",
        f"## What two backbones' losses can show ({RUNS:,} runs each, margin {100 * RULE.loss_margin:g} %)",
        "",
        "| true gap | spread of log losses | seeds | better | equivalent | inconclusive | the worse named better |",
        "|---|---|---|---|---|---|---|",
    ]
    for gap in (0.0, 0.05, 0.10, 0.15, 0.25):
        for sigma in (0.01, 0.03):
            for seeds in (3, 5, 8):
                found = shares(RUNS, rng, seeds=seeds, sigma=sigma, gap=gap)
                row = [100 * found[name] / RUNS for name in ("first", "equivalent", "inconclusive", "second")]
                lines.append(
                    f"| {100 * gap:g} % | {sigma:g} | {seeds} | {' | '.join(f'{value:.1f} %' for value in row)} |"
                )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    text = page()
    PAGE.write_text(text)
    sys.stdout.write(text)
