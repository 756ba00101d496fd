"""The plan's lint: every check fires on a plan that has the fault, and only then."""

import pytest

from bakeoff.errors import BakeoffError
from bakeoff.protocol.figures import LOSS, Figure
from bakeoff.protocol.lint import Counts, RealDraws, lint
from bakeoff.protocol.presets import load_protocol, preset_names
from bakeoff.protocol.statistics import p_passes_more
from bakeoff.trial.plan import lint_plan, make_plan, refuse_errors

COUNTS = {name: Counts(230_000, 49, 20_000_000) for name in ("mamba", "transformer", "hybrid")}
QUIET = ["rule.sigma=0.008"]  # a spread over seeds at which three are enough
UNSWEPT = ["sweep=none", "training.lr=2e-3"]  # other backbones than those for which the preset ships rates
REAL = [
    RealDraws(64, {"recognised": (0.92, 0.97, 1.0), "classes": (9, 10, 10), "frechet": (190, 250, 400)}),
    RealDraws(256, {"recognised": (0.95, 0.96, 0.99), "classes": (10, 10, 10), "frechet": (50, 66, 84)}),
]


def levels(overrides=(), counts=COUNTS, real=REAL) -> dict[str, str]:
    worst: dict[str, str] = {}
    for one in lint(load_protocol("mnist-quick", [*QUIET, *overrides]), counts, real):
        worst[one.check] = max(worst.get(one.check, "ok"), one.level, key=["ok", "warning", "error"].index)
    return worst


def test_a_sound_plan_has_every_check_and_no_complaint() -> None:
    found = levels()
    assert set(found.values()) == {"ok"}
    assert set(found) == {
        "parameters",
        "tokens",
        "FLOPs",
        "outcomes",
        "power",
        "detectable difference",
        "quality bar",
        "sweep",
    }


@pytest.mark.parametrize(
    "overrides,check,level",
    [
        (["seeds=[0]"], "outcomes", "warning"),  # point evidence
        (["seeds=[0]", "rule.evidence=seeds"], "outcomes", "error"),
        (["seeds=[0,1]", "rule.sigma=0.0005"], "outcomes", "warning"),  # no elimination can be shown
        (["rule.quality_margin=0"], "outcomes", "error"),
        (["rule.evidence=point"], "outcomes", "warning"),
        (["backbones=[{name='mamba', mixers=['mamba']}]", *UNSWEPT], "outcomes", "warning"),
        (["rule.sigma=0.1"], "power", "warning"),
        (["rule.quality_margin=0.01"], "power", "warning"),
        (["rule.pairing=unpaired"], "outcomes", "warning"),
        (["bar.samples=4", "bar.thresholds.classes=8"], "quality bar", "error"),
        (["bar.samples=16"], "quality bar", "warning"),
        (["bar.thresholds.recognised=0.995"], "quality bar", "error"),
        (["bar.thresholds.frechet=40"], "quality bar", "error"),
        (["bar.thresholds.frechet=60"], "quality bar", "warning"),
        (
            ["bar.samples=128", "bar.thresholds.frechet=200"],
            "quality bar",
            "warning",
        ),  # 64 samples are too far, 256 are not
    ],
)
def test_a_fault_is_found(overrides: list[str], check: str, level: str) -> None:
    found = levels(overrides)
    assert found.pop(check) == level
    assert set(found.values()) == {"ok"}


def test_where_people_decide_the_automatic_bar_refuses_nothing() -> None:
    found = lint(
        load_protocol("mnist-quick", ["bar.measure=human", "bar.thresholds.frechet=1", "bar.votes=6"]), COUNTS, REAL
    )
    (bar,) = [one for one in found if one.check == "quality bar"]
    assert bar.level == "warning" and "the verdict waits for 6 votes a trial" in bar.message


@pytest.mark.parametrize(
    "samples,votes,said",
    [(64, 4, "4 here, so it needs at least 1 person"), (64, 5, "4 here, so it needs at least 2 people"),
     (256, 40, "16 here, so it needs at least 3 people"), (9, 2, "1 here, so it needs at least 2 people")],
)  # fmt: skip
def test_it_says_how_many_people_the_votes_take(samples: int, votes: int, said: str) -> None:
    overrides = ["bar.measure=human", f"bar.samples={samples}", f"bar.votes={votes}", "sampling.count=8"]
    found = lint(load_protocol("mnist-quick", overrides), COUNTS, REAL)
    assert any(f"one person can give a trial {said}" in one.message for one in found)


def test_losses_of_different_objectives_are_not_compared() -> None:
    mixed = COUNTS | {"mamba": Counts(230_000, 49, 20_000_000, "ddpm")}
    assert levels(counts=mixed)["objectives"] == "error"
    assert levels(['rule.groups="objective"'], counts=mixed)["objectives"] == "ok"
    by_sample = ["rule.quality=recognised", "rule.scale=difference", "rule.quality_margin=0.05"]
    assert levels(by_sample, counts=mixed)["objectives"] == "ok"


def test_a_share_needs_items_enough_for_its_margin() -> None:
    rule = ["rule.quality=recognised", "rule.scale=difference", "rule.quality_margin=0.05"]
    for items, level in ((100, "warning"), (10_000, "ok")):
        found = lint(load_protocol("mnist-quick", rule), COUNTS, REAL, items=items)
        assert [one.level for one in found if one.check == "test items"] == [level]


def test_one_reference_is_fewer_comparisons_and_more_power() -> None:
    stated = [one.message for one in lint(load_protocol("mnist-quick", ["rule.against=mamba"]), COUNTS, REAL)]
    assert any("3 seeds and 2 pairs" in message for message in stated)


def test_a_bar_of_nothing_and_a_figure_that_was_not_calibrated_are_told() -> None:
    protocol = load_protocol("mnist-quick", ["bar.thresholds={}"])
    assert [one.level for one in lint(protocol, COUNTS, REAL) if one.check == "quality bar"] == ["warning"]
    known = [one._replace(figures={name: one.figures[name] for name in ("recognised", "classes")}) for one in REAL]
    (bar,) = [one for one in lint(load_protocol("mnist-quick"), COUNTS, known) if one.check == "quality bar"]
    assert bar.level == "warning" and "frechet = 500: how real items come out was not calibrated" in bar.message


def test_the_figures_of_a_plug_in_are_checked_by_the_plan() -> None:
    own = {"loss": LOSS, "score": Figure("score", "score", "higher")}
    with pytest.raises(BakeoffError, match="recognised is not a figure here; allowed: score"):
        lint(load_protocol("mnist-quick"), COUNTS, REAL, own)


def test_counts_that_do_not_match_are_found() -> None:
    assert levels(counts=COUNTS | {"mamba": Counts(300_000, 49, 20_000_000)})["parameters"] == "error"
    assert levels(counts=COUNTS | {"mamba": Counts(230_000, 196, 20_000_000)})["tokens"] == "error"
    assert levels(counts=COUNTS | {"mamba": Counts(230_000, 49, 60_000_000)})["FLOPs"] == "warning"


@pytest.mark.parametrize("seeds", range(2, 7))
def test_what_it_says_of_eliminations_is_what_the_test_can_reach(seeds: int) -> None:
    can = p_passes_more(seeds, seeds, 0, seeds) <= 0.05 / 3
    assert (levels([f"seeds={list(range(seeds))}"])["outcomes"] == "ok") == can


@pytest.mark.parametrize("name", preset_names())
def test_no_preset_has_an_error(name: str) -> None:
    plan = make_plan(load_protocol(name))
    refuse_errors([one for one in lint_plan(plan) if one.check != "data" or not plan.task.missing()])


def test_errors_refuse_the_plan() -> None:
    plan = make_plan(load_protocol("smoke", ["rule.evidence=seeds"]))
    with pytest.raises(BakeoffError, match="nothing can be shown; give two or more seeds"):
        refuse_errors(lint_plan(plan))


@pytest.mark.parametrize(
    ("change", "said"), [("task.pose=fixed", "task.pose = fixed"), ("task.glyphs=15", "fewer than 16")]
)
def test_a_set_that_can_be_learned_by_heart_is_called_smoke(change: str, said: str) -> None:
    def warned(*changes: str) -> list[str]:
        found = lint_plan(make_plan(load_protocol("emoji-smoke", ["task.glyphs=16", "task.train_images=20", *changes])))
        return [one.message for one in found if one.check == "difficulty"]

    (message,) = warned("name=mine", change)
    assert (
        said in message and not warned(change) and not warned("name=mine") and not warned("name=mine", "task.glyphs=0")
    )


def test_cosine_betas_with_epsilon_are_warned_of() -> None:
    ddpm = 'objective={kind="ddpm", condition_dropout=0.1, betas="cosine", prediction="%s"}'
    for prediction, warned in (("epsilon", True), ("v", False)):
        found = lint_plan(make_plan(load_protocol("smoke", [ddpm % prediction, "sampling.solver=ddim"])))
        assert any(one.check == "prediction" and one.level == "warning" for one in found) == warned


def test_no_preset_that_is_not_called_smoke_is_easy() -> None:
    easy = [name for name in preset_names() if getattr(load_protocol(name).task, "easy", "")]
    assert easy == ["emoji-smoke"]
