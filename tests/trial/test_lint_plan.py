"""Checks of a whole plan: what it hands to the linter."""

from bakeoff.protocol.presets import load_protocol
from bakeoff.trial.plan import lint_plan, make_plan


def test_a_share_of_the_samples_is_checked_against_their_number() -> None:
    changed = ['rule.quality="recognised"', 'rule.scale="difference"', "rule.quality_margin=0.01"]
    found = {one.check: one for one in lint_plan(make_plan(load_protocol("smoke", changed)))}
    samples = load_protocol("smoke").bar.samples
    assert found["test items"].level == "warning" and f"{samples} test items" in found["test items"].message
    assert "test items" not in {one.check for one in lint_plan(make_plan(load_protocol("smoke")))}
