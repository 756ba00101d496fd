"""What the flow page needs to know of a run before it asks for anything."""

from pathlib import Path
from typing import Any

from bakeoff.data.mnist import SIDE
from bakeoff.protocol.schema import DIGIT_CLASSES
from bakeoff.protocol.verdict import headline
from bakeoff.studio.flows import GUIDANCE, SEEDS, STEPS, STRIP
from bakeoff.trial.outcome import sealed_verdict
from bakeoff.trial.rundir import RunDir


def describe(path: Path) -> dict[str, Any]:
    """Plain values; docs/studio.md has the keys.

    Raises:
        BakeoffError: no run directory, or one that cannot be read.
    """
    run, verdict = sealed_verdict(path)
    protocol, sampling = run.protocol, run.protocol.sampling
    return {
        "name": protocol.name,
        "description": protocol.description,
        "headline": headline(verdict),
        "complete": verdict.outcome != "incomplete",
        "deviations": verdict.deviations,
        "backbones": [_backbone(run, one.name) for one in protocol.backbones],
        "seeds": list(protocol.seeds),
        "labels": list(range(DIGIT_CLASSES)) if protocol.task.conditional else [],
        "side": SIDE,
        "strip": STRIP,
        "sampling": {
            "steps": min(sampling.steps, STEPS),
            "solver": sampling.solver,
            "guidance": sampling.guidance,
        },
        "solvers": ["euler", "midpoint", "heun"],
        "guided": protocol.training.label_dropout > 0,
        "limits": {"steps": [1, STEPS], "noise": [0, SEEDS], "guidance": [0, GUIDANCE]},
        "noises": None,
    }


def _backbone(run: RunDir, name: str) -> dict[str, Any]:
    trials = [run.trial(name, seed) for seed in run.protocol.seeds]
    params = next((trial.measurement().params for trial in trials if trial.done), None)
    return {"name": name, "params": params, "trained": [trial.seed for trial in trials if trial.model.is_file()]}
