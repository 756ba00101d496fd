"""From a run directory to its verdict: reads the trials' measurements and the speed pass, applies the rule."""

from dataclasses import asdict, replace
from typing import Any

from bakeoff.errors import BakeoffError
from bakeoff.protocol.measurement import Evidence, Measurement, evidence_of
from bakeoff.protocol.rule import Verdict, decide
from bakeoff.protocol.table import criteria_table
from bakeoff.trial.rundir import RunDir, read_json


def measurements(run: RunDir) -> list[Measurement]:
    """Every finished trial's record, in the order of the plan."""
    return [trial.measurement() for trial in run.trials() if trial.done]


def step_times(run: RunDir) -> dict[str, float]:
    """Milliseconds of a step by backbone, from the speed pass; empty if it has not run."""
    if not run.speed.is_file():
        return {}
    try:
        backbones = read_json(run.speed)["backbones"]
        return {name: float(figures["step_time_ms"]["median"]) for name, figures in backbones.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise BakeoffError(f"{run.speed}: not the record of a speed pass ({error!r} missing or wrong).") from error


def verdict_of(run: RunDir) -> Verdict:
    """The rule applied to what the run directory holds; "incomplete" until all of it is there."""
    speeds, bar = step_times(run), run.protocol.judge

    def evidence(measurement: Measurement) -> Evidence:
        training = measurement.step_time_ms.median if measurement.step_time_ms else None
        return evidence_of(measurement, bar, speeds.get(measurement.backbone, training))

    planned = {backbone.name: run.protocol.seeds for backbone in run.protocol.backbones}
    verdict = decide(run.protocol.rule, [evidence(one) for one in measurements(run)], planned)
    if not speeds:
        if verdict.outcome != "incomplete":
            verdict = _without_speed_pass(verdict)
        verdict.notes.append("speed is that of the trials' own last steps: the exclusive speed pass has not run")
    for measurement in measurements(run):
        name = f"{measurement.backbone}-s{measurement.seed}"
        verdict.notes.extend(f"{name}: {note}" for note in measurement.notes)
    return verdict


def _without_speed_pass(so_far: Verdict) -> Verdict:
    reason = "the speed pass has not run"
    results = {name: replace(one, outcome="inconclusive", reason=reason) for name, one in so_far.backbones.items()}
    so_far.indicative = True
    return Verdict("incomplete", None, True, results, so_far.steps, [], ["speed pass"], so_far)


def verdict_json(run: RunDir, verdict: Verdict) -> dict[str, Any]:
    """The verdict as others script against it, with the table of the study and every seed's figures."""
    document = _as_json(verdict)
    document["protocol"] = run.protocol.name
    document["digest"] = run.protocol.digest()
    document["rule"] = run.protocol.rule.model_dump()
    return document


def _as_json(verdict: Verdict) -> dict[str, Any]:
    document = asdict(verdict)
    document["table"] = criteria_table(verdict)
    if verdict.so_far is not None:
        document["so_far"] = _as_json(verdict.so_far)
    return document
