"""The positive control: which backbone it is, and that a run in which it fails says that it shows nothing."""

import pytest

from bakeoff.protocol.control import controls, void
from bakeoff.protocol.figures import LOSS, TRACKING
from bakeoff.protocol.measurement import Check, Evidence
from bakeoff.protocol.presets import load_protocol
from bakeoff.protocol.rule import decide
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.verdict import Verdict

COSTS = {"step_time_ms": 1.0, "peak_memory_mib": 1.0}


def judged(protocol: Protocol, passing: dict[str, int]) -> Verdict:
    """A verdict in which so many seeds of each backbone pass; of those that are not named, all."""
    seeds = {one.name: list(protocol.seeds) for one in protocol.backbones}
    records = []
    for name, of in seeds.items():
        for i, seed in enumerate(of):
            passed = i < passing.get(name, len(of))
            figures = {"tracked": 1.0 if passed else 0.0, "accuracy": 1.0, "loss": 0.1}
            check = Check("tracked", figures["tracked"], 0.9, passed)
            records.append(Evidence(name, seed, True, (check,), figures, COSTS))
    return decide(protocol.rule, records, seeds, {"loss": LOSS, **TRACKING})


@pytest.mark.parametrize(("passed", "behaved"), [(3, True), (2, True), (1, False), (0, False)])
def test_a_run_is_void_unless_its_control_passes_in_most_seeds(passed: int, behaved: bool) -> None:
    protocol = load_protocol("tracking-quick")
    verdict = judged(protocol, {"gru": passed, "mamba2": 0})
    (control,) = controls(protocol, verdict)
    assert (control.backbone, control.passed, control.seeds, control.behaved) == ("gru", passed, 3, behaved)
    assert ("NOT behave" in control.said()) == (not behaved)
    assert void(protocol, verdict) == ("" if behaved else control.said())


def test_without_a_control_nothing_is_shown() -> None:
    protocol = load_protocol("tracking-smoke", ['backbones=[{name = "a", mixers = ["mamba2", "gru"]}]', "seeds=[1, 2]"])
    verdict = judged(protocol, {})
    assert controls(protocol, verdict) == () and "no backbone is gru alone" in void(protocol, verdict)


def test_versions_and_mlps_are_the_control_too() -> None:
    """Recall's is attention, under any name; digits have none."""
    protocol = load_protocol(
        "recall-smoke",
        ['mixers.narrow={kind = "attention", heads = 2}', 'backbones=[{name = "a", mixers = ["narrow", "mlp"]}]'],
    )
    assert [one.backbone for one in controls(protocol, judged(protocol, {}))] == ["a"]
    digits = load_protocol("smoke")
    verdict = judged(digits, {one.name: 0 for one in digits.backbones})
    assert controls(digits, verdict) == () and void(digits, verdict) == ""
