"""The table of recipes: what is still to train, which rate is kept, and what an arm is worth against the base."""

import pytest

from bakeoff.protocol.presets import load_protocol
from recipe import ARMS, BASES, page, to_train


def row(arm: str, backbone: str, rate: float, held_out: float | None, cpu_s: float) -> dict:
    made = {"task": "latent", "arm": arm, "rate": rate, "backbone": backbone, "params": 1, "steps": 2, "cpu_s": cpu_s}
    return made if held_out is None else made | {"held_out": held_out, "figures": {"frechet": 100 * held_out}}


@pytest.mark.parametrize("task", BASES)
def test_every_arm_is_a_protocol_without_a_sweep(task: str) -> None:
    base = BASES[task]
    for tasks, changes in ARMS.values():
        if task in tasks:
            protocol = load_protocol(base.protocol, [*base.changes, *changes, f"training.lr={base.rates[0]!r}"])
            assert not protocol.to_try and protocol.training.lr == base.rates[0]


def test_what_is_in_the_list_is_not_trained_again() -> None:
    rates = BASES["latent"].rates
    everything = list(to_train(["latent"], ["base", "muon"], []))
    assert everything == [("latent", arm, rate) for rate in rates for arm in ("base", "muon")]
    done = [row("base", "mamba", rates[0], 1.0, 1.0)]
    assert list(to_train(["latent"], ["base", "muon"], done)) == everything[1:]
    assert list(to_train(["recall"], ["data"], [])) == []  # an arm of other tasks


def test_an_arm_keeps_its_best_rate_and_is_compared_with_the_base() -> None:
    rows = [
        row("base", "mamba", 0.004, 1.0, 10.0),
        row("base", "mamba", 0.008, 0.8, 20.0),
        row("base", "hybrid", 0.004, 0.5, 10.0),
        row("base", "hybrid", 0.008, 0.6, 10.0),
        row("muon", "mamba", 0.004, 0.4, 30.0),
        row("muon", "mamba", 0.008, 0.5, 30.0),
        row("muon", "hybrid", 0.004, 0.5, 10.0),
        row("muon", "hybrid", 0.008, None, 5.0),
        row("data", "mamba", 0.004, None, 5.0),
        row("data", "mamba", 0.008, None, 5.0),
        row("data", "hybrid", 0.004, 0.5, 10.0),
        row("data", "hybrid", 0.008, 0.7, 10.0),
        row("base", "mamba", 0.016, 0.1, 10.0),  # a rate that the other arms have not had yet
    ]
    lines = "\n".join(page(rows)).splitlines()
    assert "| base | 0.8000, 80, 0.008, 20 | 0.5000, 50, 0.004, 10 | 1.000 | 1.000 |" in lines
    assert "| muon | 0.4000, 40, 0.004, 30 | 0.5000, 50, 0.004, 10 | 0.750 | 1.250 |" in lines
    assert "| data | diverged | 0.5000, 50, 0.004, 10 |  |  |" in lines
    assert any("rates 0.004, 0.008, seed" in line for line in lines)
