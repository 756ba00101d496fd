"""The positive control: a backbone that is known to solve the task, so that what fails beside it is no fault of it.

Where it fails as well, training, size or the task may be what failed, and the run shows nothing of the others.
"""

from dataclasses import dataclass

from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sections.mixers import Backbone
from bakeoff.protocol.verdict import Verdict

BESIDE = "mlp"  # may stand beside the control's mixer: it reads no other token


@dataclass(frozen=True)
class Control:
    """One control, and how it came out.

    Attributes:
        mixer: that it is made of, MLPs aside.
        passed, seeds: seeds that pass the bar, of those that are finished.
    """

    backbone: str
    mixer: str
    passed: int
    seeds: int

    @property
    def behaved(self) -> bool:
        """It passes in more than half of its seeds."""
        return 2 * self.passed > self.seeds

    def said(self) -> str:
        """In one sentence."""
        told = "it behaved" if self.behaved else "it did NOT behave, so that what fails here may be training"
        made = "" if self.backbone == self.mixer else f" is {self.mixer} alone and"
        return f"Control: {self.backbone}{made} passes in {self.passed} of {self.seeds} seeds; {told}."


def controls(protocol: Protocol, verdict: Verdict) -> tuple[Control, ...]:
    """The backbones of the mixer that the task names as its control, alone or with MLPs."""
    mixer, kinds = protocol.task.control, protocol.mixers.kinds

    def alone(backbone: Backbone) -> bool:
        return {kinds.get(name, name) for name in backbone.names} - {BESIDE} == {mixer}

    names = [one.name for one in protocol.backbones if mixer and alone(one) and one.name in verdict.backbones]
    found = {name: verdict.backbones[name] for name in names}
    return tuple(Control(name, mixer, one.seeds_passed, len(one.seeds)) for name, one in found.items())


def void(protocol: Protocol, verdict: Verdict) -> str:
    """Why the run shows nothing of the backbones that fail, in a sentence; empty if a control behaved, or the task
    names no mixer as one."""
    found = controls(protocol, verdict)
    if not protocol.task.control or any(one.behaved for one in found):
        return ""
    if not found:
        return f"There is no control: no backbone is {protocol.task.control} alone."
    return " ".join(one.said() for one in found)
