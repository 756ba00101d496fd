"""Reads a run directory as it was sealed: its seal, what has changed since, and the records that the rule reads."""

from pathlib import Path

import tomli_w

from bakeoff.errors import BakeoffError, PlugInRefused
from bakeoff.protocol.documents import read_toml
from bakeoff.protocol.measurement import Measurement
from bakeoff.protocol.presets import parse_protocol
from bakeoff.protocol.probes import PROBES
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.seal import Seal, deviations
from bakeoff.protocol.sections.sweep import Found
from bakeoff.registry import CODECS, TASKS
from bakeoff.rundir.directory import RunDir, read_seal
from bakeoff.rundir.ledger import MADE_AGAIN, changed_files, read_ledger, sealed_files
from bakeoff.rundir.untrusted import refuse_links
from bakeoff.tasks import inputs


def measurements(run: RunDir) -> list[Measurement]:
    """The records of all finished trials, in the order of the plan."""
    return [trial.measurement() for trial in run.trials() if trial.done]


def probed_costs(run: RunDir) -> dict[str, dict[str, float]]:
    """Costs that the probes measured, by backbone and name; empty if no probe has run."""
    found: dict[str, dict[str, float]] = {}
    for name in PROBES:
        if (record := run.probe(name)) is not None:
            for backbone, figures in record.points[0].candidates.items():
                found.setdefault(backbone, {}).update({cost: one.median for cost, one in figures.items()})
    return found


def found_toml(run: RunDir) -> str:
    """What a run's sweep found, as another protocol may state it in place of running it again.

    Raises:
        BakeoffError: the run has no sweep of its own, or it is not finished.
    """
    swept, digest = run.swept(), read_ledger(run.path).digest
    if swept is None or digest is None or not run.protocol.to_try:
        raise BakeoffError(f"{run.path}: holds no finished sweep.")
    losses = {name: one.losses for name, one in swept.choices.items()}
    found = Found.model_validate({"run": digest, "recipe": run.protocol.recipe, "losses": losses})
    return tomli_w.dumps({"sweep": {"found": found.model_dump(mode="json")}})


def loss_floor(run: RunDir) -> float | None:
    """The memoriser's floor of the run's loss; None if it was not computed yet."""
    return run.floor_record().value if run.floor.is_file() else None


def as_sealed(path: Path) -> tuple[RunDir, Seal | BakeoffError]:
    """The run directory with its sealed protocol, and the seal; without a valid seal: with its own protocol, and why.

    Raises:
        BakeoffError: no run directory, or neither its protocol nor its seal can be read.
    """
    if path.is_dir():
        refuse_links(path)
    try:
        seal = read_seal(path)
    except BakeoffError as error:
        return RunDir.open(path), error
    return RunDir(path, parse_protocol(seal.protocol, f"{path / 'seal.json'}"), seal), seal


def open_sealed(path: Path) -> tuple[RunDir, Seal | None, list[str]]:
    """The run directory as it was sealed, its seal, and what has changed since.

    Inputs that only a plug-in knows are left out if that plug-in is not allowed; `unread_inputs` then says so.
    """
    run, seal = as_sealed(path)
    if isinstance(seal, BakeoffError):
        return run, None, [str(seal)]
    try:
        now = seal.inputs if unread_inputs(run.protocol) else inputs(run.protocol)
        changes = deviations(seal, read_toml(path / "protocol.toml"), now)
    except BakeoffError as error:
        changes = [str(error)]
    read = [one for one in sealed_files(path) if one.name not in MADE_AGAIN]
    changes += [f"{name}: {problem}" for name, problem in changed_files(path, read).items()]
    changes += _other_models(run, seal)
    changes += _other_values(run)
    return run, seal, changes


def unread_inputs(protocol: Protocol) -> str:
    """Why the inputs of a protocol cannot be read anew; empty if they can."""
    try:
        TASKS.get(protocol.task.kind)
        if protocol.codec is not None:
            CODECS.get(protocol.codec.kind)
    except PlugInRefused as error:
        return f"the inputs of its task were not compared with the sealed ones: {error}"
    except BakeoffError:
        return ""  # the code that reads them reports this error
    return ""


def _other_models(run: RunDir, seal: Seal) -> list[str]:
    """Trials whose model size differs from the sealed plan: other code or another plug-in built the model."""
    backbones = seal.plan.get("backbones")
    rows = [one for one in backbones if isinstance(one, dict)] if isinstance(backbones, list) else []
    planned = {str(one.get("name")): one.get("params") for one in rows}
    return [
        f"{one.backbone}-s{one.seed}: its model has {one.params:,} parameters, the sealed plan says {expected:,}"
        for one in measurements(run)
        if isinstance(expected := planned.get(one.backbone), int) and expected != one.params
    ]


def _other_values(run: RunDir) -> list[str]:
    """Trials that were not trained with the value that the sweep found for them."""
    sweep, found, measured = run.protocol.sweep, run.swept(), measurements(run)
    if sweep is None or not measured:
        return []
    if found is None:
        return ["the sweep is not whole, so that nothing says with which values the trials were to be trained"]
    return [
        f"{one.backbone}-s{one.seed}: trained with {sweep.key} = {one.swept}, the sweep found {best:g}"
        for one in measured
        if one.swept != (best := found.choices[one.backbone].value)
    ]
