"""From a run directory to its verdict: checks the seal, reads the measurements and the probes, applies the rule."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bakeoff.judging.tally import Judgements, judgements
from bakeoff.protocol.audit.checks import NEAR_FLOOR
from bakeoff.protocol.formats import FORMAT
from bakeoff.protocol.measurement import Evidence, Measurement, evidence_of
from bakeoff.protocol.rule import decide
from bakeoff.protocol.verdict import Verdict, criteria_table, headline
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.sealed import loss_floor, measurements, open_sealed, probed_costs, unread_inputs
from bakeoff.rundir.version import running_code


def sealed_verdict(path: Path) -> tuple[RunDir, Verdict]:
    """The verdict by the protocol as it was sealed; "deviated" if anything that was sealed has changed since.

    Raises:
        BakeoffError: no run directory, or one in which neither protocol nor seal can be read.
    """
    run, seal, changes = open_sealed(path)
    verdict = verdict_of(run)
    if seal is not None and seal.code != running_code():
        verdict.notes.append(f"sealed by {seal.code}, read by {running_code()}: no deviation by itself")
    if why := unread_inputs(run.protocol):
        verdict.notes.append(why)
    if not changes:
        return run, verdict
    results = {name: replace(one, outcome="inconclusive", reason="deviated") for name, one in verdict.backbones.items()}
    notes, verdict.notes = verdict.notes, []
    verdict.indicative = True
    more: dict[str, Any] = {
        "figures": verdict.figures,
        "quality": verdict.quality,
        "sweep": verdict.sweep,
        "so_far": verdict,
    }
    return run, Verdict("deviated", None, True, results, [], notes, deviations=changes, **more)


def verdict_of(run: RunDir) -> Verdict:
    """The rule applied to what the run directory holds; "incomplete" until all of it is there."""
    probed, bar, figures = probed_costs(run), run.protocol.bar, run.figures
    groups = run.protocol.groups()
    bar.check_thresholds(figures)
    people = judgements(run) if bar.measure == "human" else None

    def evidence(measurement: Measurement) -> Evidence:
        votes = people and people.of_trial(measurement.backbone, measurement.seed)
        return evidence_of(
            measurement, bar, figures, probed.get(measurement.backbone), votes, groups.get(measurement.backbone, "")
        )

    planned = {backbone.name: run.protocol.seeds for backbone in run.protocol.backbones}
    verdict = decide(run.protocol.rule, [evidence(one) for one in measurements(run)], planned, figures)
    floor = loss_floor(run)
    for one in (verdict, verdict.so_far, *verdict.groups.values()):
        if one is not None:
            one.loss_floor, one.sweep = floor, run.swept()
    if floor:
        verdict.notes.extend(
            f"{name}: its loss is {result.loss / floor:.2f} times the memoriser's floor: it has learned the training "
            "images by heart, or its loss is not the one described"
            for name, result in verdict.backbones.items()
            if result.loss is not None and result.loss <= NEAR_FLOOR * floor
        )
    if not probed:
        if verdict.outcome != "incomplete":
            verdict = _without_probes(verdict)
        verdict.notes.append("costs are those of the trials themselves: the probes have not run")
    if verdict.sweep is not None:
        verdict.notes.extend(verdict.sweep.warnings())
    if people is not None:
        verdict.notes.extend(_of_people(verdict, people))
    for what, values in (
        ("devices", {one.device for one in measurements(run)}),
        ("numbers of threads", {str(one.threads) for one in measurements(run)}),
    ):
        if len(values) > 1:
            verdict.notes.append(f"trials ran on different {what}: {', '.join(sorted(values))}")
    for measurement in measurements(run):
        name = f"{measurement.backbone}-s{measurement.seed}"
        verdict.notes.extend(f"{name}: {note}" for note in measurement.notes)
    return verdict


def _of_people(verdict: Verdict, people: Judgements) -> list[str]:
    """What a reader should know where people decide."""
    waits = any(seed.waits_for for one in verdict.backbones.values() for seed in one.seeds)
    remedy = "; votes are missing: `bakeoff studio DIR`, page /judge" if waits else ""
    return [
        f"the protocol names human judgement as the measure of quality: {len(people.votes)} votes of "
        f"{len(people.people)} people so far, in judgements.jsonl, which is not sealed{remedy}",
        *people.notes,
    ]


def _without_probes(so_far: Verdict) -> Verdict:
    reason = "the probes have not run"
    results = {name: replace(one, outcome="inconclusive", reason=reason) for name, one in so_far.backbones.items()}
    so_far.indicative = True
    return Verdict(
        "incomplete",
        None,
        True,
        results,
        so_far.steps,
        missing=["probes"],
        figures=so_far.figures,
        quality=so_far.quality,
        loss_floor=so_far.loss_floor,
        sweep=so_far.sweep,
        so_far=so_far,
    )


def verdict_json(run: RunDir, verdict: Verdict) -> dict[str, Any]:
    """The verdict as others script against it, with the table of the study and every seed's figures."""
    document = {"format": FORMAT, **_as_json(verdict)}
    document["headline"] = headline(verdict)
    document["protocol"] = run.protocol.name
    document["digest"] = run.digest
    document["rule"] = run.protocol.rule.model_dump()
    return document


def _as_json(verdict: Verdict) -> dict[str, Any]:
    document = asdict(verdict)
    document["table"] = criteria_table(verdict)
    document["groups"] = {name: _as_json(one) for name, one in verdict.groups.items()}
    if verdict.so_far is not None:
        document["so_far"] = _as_json(verdict.so_far)
    return document
