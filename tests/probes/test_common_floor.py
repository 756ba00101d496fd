"""The loss floor of a run: that of the loss which all its backbones have."""

import pytest

from bakeoff.probes.worker import _floor
from bakeoff.protocol.presets import load_protocol
from bakeoff.trial.plan import make_plan


class Floored:
    """Data that say so when a floor is asked of them."""

    def whole(self):
        raise LookupError("a floor was asked for")


def test_losses_of_different_objectives_have_no_common_floor() -> None:
    assert _floor(make_plan(load_protocol("objectives-quick")), Floored()) is None  # pyright: ignore


def test_the_loss_of_all_has_one() -> None:
    with pytest.raises(LookupError):
        _floor(make_plan(load_protocol("smoke")), Floored())  # pyright: ignore
