"""bo.decide: the rule applied to anyone's own numbers; and a run's numbers in the same flat rows."""

import math
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

from bakeoff.errors import BakeoffError
from bakeoff.protocol.documents import parse_document
from bakeoff.protocol.figures import COSTS, FIGURES, LOSS, Figure, figure_from_json
from bakeoff.protocol.measurement import Check, Evidence
from bakeoff.protocol.rule import decide as decide_by_evidence
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.verdict import Verdict

KNOWN = {"loss": LOSS, **{name: one for figures in FIGURES.values() for name, one in figures.items()}}
OF_ROW = ("backbone", "seed", "status", "passed", "group", "items")  # columns that are no figure and no cost
STATUS = {"completed": True, "diverged": False}


def decide(
    rule: Rule | Mapping[str, Any],
    evidence: Iterable[Mapping[str, Any]],
    figures: Mapping[str, str | Mapping[str, Any]] | None = None,
) -> Verdict:
    """The verdict of a rule on a table of numbers; a pure function, which reads no file and draws nothing.

    Args:
        rule: `protocol.rule`, or its keys as docs/protocol.md lists them. Left out, `evidence` is "seeds" where there
            are two or more seeds.
        evidence: one row a trial: `backbone`, `seed`, and by name the figures and costs that were measured, such as
            `loss` and `step_time_ms`; None and NaN stand for none. Also, where they matter: `passed`, whether the
            trial meets the quality bar (True; None: still to be judged), `status` ("completed" or "diverged"), `group`,
            and `items`, how many items stand behind a figure that is a share of them. `run.rows()` is such a table.
        figures: for figures of your own, which way is better, "higher" or "lower"; or all fields of a
            `bakeoff.protocol.figures.Figure` but its name.

    Returns:
        A verdict with `outcome`, `winner`, `backbones`, every `step` of the reasoning, and `comparisons`. A backbone
        without a row for one of the seeds makes it "incomplete".

    Raises:
        BakeoffError: a wrong key of the rule, a row that cannot be read, or no row with the figure that decides.

    >>> import bakeoff as bo
    >>> rows = [
    ...     {"backbone": name, "seed": seed, "loss": loss + 0.002 * seed, "step_time_ms": ms}
    ...     for name, loss, ms in (("mamba", 0.84, 61.0), ("transformer", 0.85, 38.0))
    ...     for seed in range(3)
    ... ]
    >>> verdict = bo.decide({"quality_margin": 0.10, "cost": "step_time_ms"}, rows)
    >>> verdict.winner, verdict.comparisons[0].outcome
    ('transformer', 'equivalent')
    >>> print(bo.decide({"quality_margin": 0.001}, rows))
    mamba wins: ...
    """
    records = [_evidence(row, f"evidence, row {i}") for i, row in enumerate(evidence)]
    names = list(dict.fromkeys(one.backbone for one in records))
    seeds = sorted({one.seed for one in records})
    trials = [(one.backbone, one.seed) for one in records]
    if not records:
        raise BakeoffError("evidence: no rows; give one for each trial.")
    if twice := next((trial for trial in trials if trials.count(trial) > 1), None):
        raise BakeoffError(f"evidence: two rows of {twice[0]} with seed {twice[1]}; give one.")
    if not isinstance(rule, Rule):
        rule = parse_document(Rule, dict(rule), "rule", "rule")
    rule = rule.over(len(seeds))
    known = {**KNOWN, **{name: _figure(name, given) for name, given in (figures or {}).items()}}
    completed = [one for one in records if one.completed]
    if completed and not any(rule.quality in one.figures for one in completed):
        raise BakeoffError(f"evidence: no row has {rule.quality}, by which the rule decides (rule.quality).")
    if rule.quality not in known:
        raise BakeoffError(f'figures: {rule.quality} is new; say which way is better: {{"{rule.quality}": "higher"}}.')
    return decide_by_evidence(rule, records, {name: seeds for name in names}, known)


def row_of(record: Evidence) -> dict[str, Any]:
    """A trial's evidence as a flat row, as `decide` takes it."""
    own = {"group": record.group} if record.group else {}
    return {
        "backbone": record.backbone,
        "seed": record.seed,
        "status": "completed" if record.completed else "diverged",
        "passed": None if record.waits_for else record.passed,
        **own,
        "items": record.items,
        **record.figures,
        **record.costs,
    }


def _evidence(row: Mapping[str, Any], where: str) -> Evidence:
    if missing := [key for key in ("backbone", "seed") if key not in row]:
        raise BakeoffError(f"{where}: no {missing[0]}; given are {', '.join(map(str, row))}.")
    seed, status, passed = (
        _number(row["seed"], f"{where}: seed"),
        row.get("status", "completed"),
        row.get("passed", True),
    )
    if seed is None or seed != int(seed):
        raise BakeoffError(f"{where}: seed = {row['seed']!r:.80}; allowed: a whole number.")
    if status not in STATUS:
        raise BakeoffError(f"{where}: status = {status!r}; allowed: {', '.join(STATUS)}.")
    numbers = {str(key): _number(value, f"{where}: {key}") for key, value in row.items() if key not in OF_ROW}
    values = {name: value for name, value in numbers.items() if value is not None}
    items = _number(row.get("items"), f"{where}: items")
    name, completed, undecided = str(row["backbone"]), STATUS[status], passed is None or passed != passed
    return Evidence(
        backbone=name,
        seed=int(seed),
        completed=completed,
        checks=(Check("passed", str(bool(passed)), "True", bool(passed)),) if completed else (),
        figures={name: value for name, value in values.items() if name not in COSTS and completed},
        costs={name: value for name, value in values.items() if name in COSTS},
        items=None if items is None else int(items),
        group=str(row.get("group", "")),
        waits_for=f"the judgement of {name}-s{int(seed)}" if completed and undecided else None,
    )


def _number(value: Any, where: str) -> float | None:
    if value is None or (isinstance(value, Real) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise BakeoffError(f"{where} = {value!r:.80}; allowed: a finite number, or None.")
    return float(value)


def _figure(name: str, given: str | Mapping[str, Any]) -> Figure:
    fields = {"better": given} if isinstance(given, str) else dict(given)
    try:
        return figure_from_json({"title": name.replace("_", " "), **fields, "name": name})
    except BakeoffError as error:
        raise BakeoffError(f"figures: {name}: {error}") from None
