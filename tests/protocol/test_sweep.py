"""The sweep in the law: what is chosen, what a protocol with one means, and what is refused."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from bakeoff.errors import BakeoffError
from bakeoff.protocol.measurement import Quality, with_figures
from bakeoff.protocol.presets import dump_protocol, load_protocol, parse_protocol
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sweep import choice, expected, swept
from bakeoff.trial.candidate import candidates
from bakeoff.trial.plan import lint_plan, make_plan

ROOT = Path(__file__).parents[2]
VALUES = (1e-3, 3e-3, 1e-2)
SWEEP = "sweep={values = [1e-3, 3e-3, 1e-2], seed = 9}"
LOSSES = {"mamba": (2.0, 1.0, 3.0), "transformer": (1.0, 2.0, "diverged"), "hybrid": (3.0, 2.0, 1.0)}


def plain() -> Protocol:
    return load_protocol("smoke", ["training.lr=none"])


def swept_protocol(*more: str) -> Protocol:
    return load_protocol("smoke", ["training.lr=none", SWEEP, *more])


def found(recipe: str | None = None, losses: str | None = None) -> str:
    listed = ", ".join(f"{name} = {list(one)}".replace("'", '"') for name, one in LOSSES.items())
    recipe = recipe or swept_protocol().recipe
    return f'sweep.found={{run = "{"0" * 64}", recipe = "{recipe}", losses = {{{losses or listed}}}}}'


@pytest.mark.parametrize(
    ("losses", "value", "diverged", "at_end"),
    [
        ((2.0, 1.0, 3.0), 3e-3, 0, False),
        ((1.0, 2.0, 3.0), 1e-3, 0, True),
        ((3.0, 2.0, 1.0), 1e-2, 0, True),
        ((2.0, 1.0, 1.0), 3e-3, 0, False),  # the lower one of equals
        ((2.0, 1.0, "diverged"), 3e-3, 1 / 3, False),
        (("diverged", "diverged", 7.0), 1e-2, 2 / 3, True),
        (("diverged", "diverged", "diverged"), 1e-3, 1, False),
    ],
)
def test_the_lowest_held_out_loss_is_kept(losses: tuple, value: float, diverged: float, at_end: bool) -> None:
    kept = choice(VALUES, losses)
    assert (kept.value, kept.at_end) == (value, at_end) and kept.diverged == pytest.approx(diverged)
    assert kept.losses == losses and kept.none_trained == (diverged == 1)


def test_a_list_that_is_too_short_is_told() -> None:
    sweep = swept_protocol().sweep
    assert sweep is not None
    low, high = swept(sweep, LOSSES).warnings()
    assert "transformer is best at training.lr = 0.001, the lowest of the list" in low
    assert "hybrid is best at training.lr = 0.01, the highest of the list" in high
    (lost,) = swept(sweep, {"mamba": ("diverged",) * 3}).warnings()
    assert "mamba diverged at every value of training.lr; it is trained with 0.001" in lost


@pytest.mark.parametrize(
    ("losses", "mean"),
    [((2.0,), 2.0), ((1.0, 3.0, 2.0), 2.0), ((1.0, "diverged"), "diverged"), (("diverged",), "diverged")],
)
def test_of_several_seeds_the_mean_counts_and_none_may_diverge(losses: tuple, mean: float | str) -> None:
    assert expected(losses) == mean


def test_a_value_that_works_on_half_of_the_seeds_is_kept_before_one_that_works_on_none() -> None:
    losses = [expected(pair) for pair in ((2.7, 2.8), (3.1, 0.0002), (3.6, 3.6))]
    assert choice((1e-3, 3e-3, 1e-2), losses).value == 3e-3


def test_more_seeds_are_more_trials_and_another_recipe() -> None:
    one, two = swept_protocol(), swept_protocol("sweep.more_seeds=[11]")
    assert two.to_try == tuple((value, seed) for value in VALUES for seed in (9, 11))
    assert two.recipe != one.recipe and swept_protocol("sweep.more_seeds=[]").digest() == one.digest()
    assert one.sweep is not None and two.sweep is not None
    folders = {two.sweep.folder("mamba", value, seed) for value, seed in two.to_try}
    assert len(folders) == 6 and one.sweep.folder("mamba", 1e-3, 9) == "sweep/mamba-lr-0.001" in folders
    ((_, message),) = findings(two)
    assert message.startswith("18 trials come first") and message.endswith("lowest mean of their held-out losses")


def test_without_a_sweep_nothing_changes() -> None:
    protocol = load_protocol("smoke")
    assert "sweep" not in protocol.document() and protocol.to_try == () and protocol.swept is None


def test_the_swept_key_has_no_single_value() -> None:
    protocol = swept_protocol()
    assert "lr" not in protocol.document()["training"]
    again = parse_protocol(tomllib.loads(dump_protocol(protocol)), "again")
    assert again.digest() == protocol.digest() and again.to_try == tuple((value, 9) for value in VALUES)
    tried = protocol.at(3e-3)
    assert (tried.training.lr, tried.sweep) == (3e-3, None)
    assert tried.digest() == load_protocol("smoke", ["training.lr=3e-3"]).digest()


def test_what_an_earlier_run_found_is_what_every_candidate_is_trained_with() -> None:
    protocol = swept_protocol(found())
    assert protocol.to_try == ()
    kept = {one.backbone.name: one.protocol.training.lr for one in candidates(protocol)}
    assert kept == {"mamba": 3e-3, "transformer": 1e-3, "hybrid": 1e-2}
    again = parse_protocol(tomllib.loads(dump_protocol(protocol)), "again")
    assert again.swept == protocol.swept and again.digest() == protocol.digest()


@pytest.mark.parametrize(
    "source",
    [
        "backbones-quick",
        "mnist-quick",
        "recall-quick",
        "recall-share",
        "recall-ladder",
        "tracking-quick",
        "protocols/recall-selectivity.toml",
    ],
)
def test_what_ships_was_found_with_the_recipe_that_ships(source: str) -> None:
    protocol = load_protocol(str(ROOT / source) if "/" in source else source)
    assert protocol.sweep is not None and protocol.sweep.found is not None
    assert protocol.sweep.found.recipe == protocol.recipe


def test_a_recipe_is_what_a_held_out_loss_depends_on() -> None:
    recipe = swept_protocol().recipe
    same = ["seeds=[3, 4]", "name=other", "bar.samples=64", "rule.quality_margin=0.2", found()]
    assert all(swept_protocol(one).recipe == recipe for one in same)
    others = [
        "training.steps=7",
        "model.d_model=16",
        "sweep.seed=10",
        "sweep.more_seeds=[10]",
        "sweep.values=[1e-4, 1e-3, 1e-2]",
        "budget.params=9000",
    ]
    assert len({recipe, *(swept_protocol(one).recipe for one in others)}) == 1 + len(others)


def findings(protocol: Protocol) -> list[tuple[str, str]]:
    return [(one.level, one.message) for one in lint_plan(make_plan(protocol)) if one.check == "sweep"]


def test_the_lint_says_what_is_tried_and_what_was_found() -> None:
    assert findings(plain()) == []
    ((level, message),) = findings(swept_protocol())
    assert level == "ok" and message.startswith(
        "9 trials come first, at training.lr = 0.001, 0.003, 0.01 and on seed 9"
    )
    (level, message), *ends = findings(swept_protocol(found()))
    assert level == "ok" and message.endswith("mamba 0.003, transformer 0.001, hybrid 0.01")
    assert [level for level, _ in ends] == ["warning"] * 2
    *_, (level, message) = findings(swept_protocol(found(), "training.batch=32"))
    assert level == "warning" and "found for another recipe" in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["training.lr=1e-3"], "training.lr: chosen by the sweep"),
        (["sweep.values=[1e-3, 1e-2]"], "sweep.values"),
        (["sweep.values=[1e-3, 1e-2, 1e-2]"], "different numbers from low to high"),
        (["sweep.values=[1e-3, 1e-2, 2.0]"], "training.lr = 2: .*less than or equal to 1"),
        (["sweep.values=[0, 1e-3, 1e-2]"], "training.lr = 0: .*greater than 0"),
        (["sweep.seed=0"], "sweep.seed = 0: one of seeds"),
        (["sweep.more_seeds=[0]"], "sweep.more_seeds = .*none of seeds"),
        (["sweep.more_seeds=[9]"], "sweep.more_seeds = .*or sweep.seed"),
        (["sweep.more_seeds=[5, 5]"], "sweep.more_seeds = .*different numbers"),
        (["sweep.key=training.lrr"], "sweep.key"),
        (["sweep.key=training.warmup", "sweep.values=[1, 2, 2.5]", "training.lr=1e-3"], "training.warmup = 2.5"),
        (["sweep.key=training.warmup", "sweep.values=[1, 2, 9999]", "training.lr=1e-3"], "no less than the"),
        ([found(losses="mamba = [1.0, 2.0, 3.0]")], "the backbones are mamba, transformer, hybrid"),
        ([found(), "sweep.values=[1e-4, 1e-3, 3e-3, 1e-2]"], "one for each of the 4 sweep.values"),
        ([found(recipe="zz")], "sweep.found.recipe"),
        ([found(), 'sweep.found.losses.mamba=[1.0, 2.0, "lost"]'], "sweep.found.losses.mamba"),
    ],
)
def test_what_is_no_sweep_is_refused(changes: list[str], said: str) -> None:
    with pytest.raises(BakeoffError, match=said):
        swept_protocol(*changes)


def test_other_keys_can_be_swept() -> None:
    protocol = load_protocol(
        "smoke", ["training.warmup=none", 'sweep={key = "training.warmup", values = [1, 2, 4], seed = 9}']
    )
    assert "warmup" not in protocol.document()["training"] and protocol.at(4.0).training.warmup == 4


def test_it_needs_items_that_were_kept_out(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(swept_protocol())
    monkeypatch.setattr(type(plan.task), "data", lambda *_, **__: None)
    (error,) = [one for one in lint_plan(replace(plan)) if one.level == "error"]
    assert error.check == "sweep" and "keeps no items out of training" in error.message


def test_a_figure_that_is_not_finite_is_left_out() -> None:
    quality = Quality(samples=4, figures={"accuracy": 0.5})
    more = with_figures(quality, {"held_out_loss": float("nan"), "a": float("inf"), "b": 2.0})
    assert more.figures == {"accuracy": 0.5, "b": 2.0} and quality.figures == {"accuracy": 0.5}
