"""Recall: the sequences ask what they should, the figures are counted right, and the bar tells recall from guesses."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from bakeoff.artefacts.answers import ASKED, FACT, KEY, UNKNOWN
from bakeoff.errors import BakeoffError
from bakeoff.protocol.presets import load_protocol
from bakeoff.protocol.sections.tasks import Recall as Section
from bakeoff.protocol.statistics import wilson
from bakeoff.seeding import generator
from bakeoff.tasks import build_task, inputs
from bakeoff.tasks.recall import Recall
from bakeoff.tasks.sequences import EARLY, Sequences, drawn, fixed, possible_answers

VARIANTS: dict[str, dict[str, Any]] = {
    "mqar": {"length": 64, "pairs": (8,), "vocabulary": 128},
    "needle": {"length": 33, "pairs": (1, 3), "vocabulary": 32},
    "induction": {"length": 20, "pairs": (1,), "vocabulary": 16},
    "copying": {"length": 40, "pairs": (16,), "vocabulary": 10},
}


def section(variant: str, **changes: Any) -> Section:
    return Section(kind="recall", variant=variant, **(VARIANTS[variant] | changes))  # pyright: ignore[reportArgumentType]


def made(variant: str, count: int = 200, **changes: Any) -> Sequences:
    return drawn(section(variant, **changes), count, generator("test", 1))


def task(*sets: str) -> Recall:
    built = build_task(load_protocol("recall-smoke", list(sets)))
    assert isinstance(built, Recall)
    return built


@pytest.mark.parametrize("variant", ["mqar", "needle"])
@pytest.mark.parametrize("filler", ["random", "blank"])
def test_every_key_is_given_once_with_its_value_and_asked_once(variant: str, filler: str) -> None:
    options, found = section(variant, filler=filler), made(variant, filler=filler)
    half = options.vocabulary // 2
    for i, (tokens, answers, marks) in enumerate(zip(*(x.tolist() for x in found), strict=True)):
        keys = {tokens[t]: tokens[t + 1] for t in range(len(tokens)) if marks[t] == KEY}
        asked = {tokens[t]: answers[t] for t in range(len(tokens)) if marks[t] == ASKED}
        assert asked == keys and len(keys) == options.pairs[i % len(options.pairs)]
        assert all(1 <= key < half <= value < options.vocabulary for key, value in keys.items())
        assert len(set(keys.values())) == len(keys)
        assert all(marks[t + 1] == FACT for t in range(len(tokens)) if marks[t] == KEY)
        last_fact = max(t for t in range(len(tokens)) if marks[t] == FACT)
        assert last_fact < min(t for t in range(len(tokens)) if marks[t] == ASKED)
        assert not any(answers[t] for t in range(len(tokens)) if marks[t] != ASKED)


def test_needles_are_nowhere_else() -> None:
    for tokens, _, marks in zip(*(x.tolist() for x in made("needle")), strict=True):
        keys = {tokens[t] for t in range(len(tokens)) if marks[t] == KEY}
        assert sum(token in keys for token in tokens) == 2 * len(keys)


def test_questions_come_early_as_zoology_draws_them() -> None:
    """Of a lone pair the place is drawn like (g + 1)^(a - 1); Pearson's chi-squared over 30 places, 99.9 %: 58.3."""
    count = 20_000
    found = made("mqar", count, pairs=(1,), length=62)
    places = (found.marks_BL == ASKED).long().argmax(1)
    chances = torch.arange(1.0, 31).double() ** (EARLY - 1)
    expected = count * chances / chances.sum()
    counts = ((places - 2) // 2).bincount(minlength=30)
    assert (places % 2 == 0).all() and ((counts - expected).square() / expected).sum() < 58.3


def test_induction_asks_what_followed_the_special_symbol() -> None:
    for tokens, answers, marks in zip(*(x.tolist() for x in made("induction")), strict=True):
        assert tokens.count(15) == 2 and tokens[-1] == 15 and marks[-1] == ASKED
        first = tokens.index(15)
        assert answers[-1] == tokens[first + 1] and marks[first : first + 2] == [KEY, FACT]


def test_copying_asks_for_the_symbols_without_the_blanks() -> None:
    for tokens, answers, marks in zip(*(x.tolist() for x in made("copying")), strict=True):
        given = [token for token in tokens[:23] if token]
        assert len(given) == 16 and tokens[23] == 9 and given == tokens[24:] == answers[24:]
        assert marks[24:] == [ASKED] * 16 and [m for m in marks[:24] if m] == [FACT] * 16


@pytest.mark.parametrize("variant", VARIANTS)
def test_answers_are_possible_ones(variant: str) -> None:
    found = made(variant)
    low, high = possible_answers(section(variant))
    answers = found.answers_BL[found.asked_BL]
    assert low <= answers.min() <= answers.max() < high


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_first_of_a_fixed_set_do_not_depend_on_the_count(variant: str) -> None:
    few, many = (fixed(section(variant), "test", count) for count in (5, 700))
    assert all(torch.equal(a, b[:5]) for a, b in zip(few, many, strict=True))
    other = fixed(section(variant), "valid", 5)
    assert not torch.equal(few.tokens_BL, other.tokens_BL)


def test_training_is_a_function_of_seed_and_step() -> None:
    data = task().data(torch.device("cpu"))
    one, again = data.batch(0, 3), data.batch(0, 3)
    assert one.x is not None and again.x is not None and torch.equal(one.x, again.x)
    for other in (data.batch(1, 3), data.batch(0, 4)):
        assert other.x is not None and not torch.equal(one.x, other.x)
    assert one.truth is None and data.epoch_steps is None


@pytest.mark.parametrize("variant", ["mqar", "copying"])
def test_prompts_hold_no_answer_but_in_their_truth(variant: str) -> None:
    """What the objective may read is the same for two sequences that differ in their answers alone."""
    built = task(f"task.variant={variant}")
    whole = fixed(built.section, "test", 6)
    asked = whole.asked_BL
    prompts = built.prompts(6)
    assert prompts.x is not None and prompts.truth is not None
    assert torch.equal(prompts.truth["answers"], whole.answers_BL)
    if variant == "copying":
        assert prompts.y is None and (prompts.x[asked] == UNKNOWN).all()
    else:
        assert prompts.y is not None and (prompts.y == UNKNOWN).all() and torch.equal(prompts.x, whole.tokens_BL)


@pytest.mark.parametrize("variant", VARIANTS)
def test_figures_are_counted_right(variant: str) -> None:
    built = Recall(load_protocol("recall-smoke").model_copy(update={"task": section(variant)}))
    whole, prompts = fixed(built.section, "test", 40), built.prompts(40)
    answered = whole.answers_BL.clone()
    g = torch.Generator().manual_seed(2)
    wrong_BL = (torch.rand(answered.shape, generator=g) < 0.3) & whole.asked_BL
    answered[wrong_BL] += 1
    quality = built.assess(built.items(answered, prompts), prompts)
    asked, wrong = whole.asked_BL.sum(1).tolist(), wrong_BL.sum(1).tolist()
    assert quality.figures["accuracy"] == pytest.approx(np.mean([1 - w / n for w, n in zip(wrong, asked, strict=True)]))
    assert quality.figures["solved"] == pytest.approx(wrong.count(0) / 40)
    for number, of, share, low, high in zip(*quality.detail.values(), strict=True):
        hits = sum(n - w for w, n in zip(wrong, asked, strict=True) if n == number)
        assert (share, of) == (pytest.approx(hits / of), asked.count(number) * number)
        assert (low, high) == wilson(hits, int(of)) and low <= share <= high


def test_wilson_s_interval() -> None:
    """8 of 10: 0.4902 to 0.9433; 0 of 10: 0 to 0.2775 [Newcombe 1998; statsmodels gives the same]."""
    assert wilson(8, 10) == (pytest.approx(0.49016, abs=1e-5), pytest.approx(0.94332, abs=1e-5))
    assert wilson(0, 10) == (0.0, pytest.approx(0.27753, abs=1e-5))
    assert wilson(10, 10)[1] == pytest.approx(1.0) and wilson(0, 0) == (0.0, 1.0)


def test_the_bar_tells_recall_from_guesses() -> None:
    """True answers pass; guesses do not, and come out as arithmetic says: one of 63 values, one of 8 facts."""
    built = build_task(protocol := load_protocol("recall-quick"))
    calibration = built.calibration()
    assert calibration is not None
    (kinds,) = calibration.samples.values()
    bar = protocol.bar.thresholds["accuracy"]
    assert kinds["real"]["accuracy"] == (1, 1, 1)
    assert all(spread["accuracy"][2] < bar for name, spread in kinds.items() if name != "real")
    for name, share in (
        ("chance", 1 / 64),
        ("any fact of the sequence", 1 / 8),
        ("half of the answers true", 65 / 128),
    ):
        error = math.sqrt(share * (1 - share) / (protocol.bar.samples * 8 * 20))
        assert kinds[name]["accuracy"][1] == pytest.approx(share, abs=5 * error)
    assert set(calibration.baselines) == {"chance", "any fact of the sequence"}
    assert inputs(protocol)["calibration"] == calibration.digest()


def test_a_typed_sequence_asks_for_what_it_repeats() -> None:
    built = task("task.length=8", "task.pairs=[2]", "task.vocabulary=16")
    prompts = built.typed("3 9, 4 10 0 4 1 3")
    assert prompts.x is not None and prompts.truth is not None
    assert prompts.truth["marks"].tolist() == [[KEY, FACT, KEY, FACT, 0, ASKED, 0, ASKED]]
    assert prompts.truth["answers"].tolist() == [[0, 0, 0, 0, 0, 10, 0, 9]]
    for text, said in (
        ("1 2 3", "3 symbols"),
        ("3 9 4 10 0 4 1 16", "from 0 to 15"),
        ("3 9 4 10 0 4 1 x", "allowed: 8 whole numbers"),
        ("3 9 4 10 0 5 1 6", "asks nothing"),
    ):
        with pytest.raises(BakeoffError, match=said):
            built.typed(text)
    example = build_task(load_protocol("recall-quick")).example
    assert build_task(load_protocol("recall-quick")).typed(example).items() == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("task.pairs=[9]", "at most 8"),
        ("task.pairs=[0]", "from 1 on"),
        ("task.pairs=[2, 2]", "different"),
        ("task.vocabulary=8", "at most 3"),
        ("sampling.kind=solver", "allowed with objective autoregressive: decoding"),
        ("objective.kind=flow", "needs numbers"),
        ("training.steps=none", "exactly one"),
        ("sampling.guidance=2", "guidance"),
        ("bar.thresholds.recognised=0.5", "not a figure"),
        ("rule.scale=ratio", "share of items"),
    ],
)
def test_what_does_not_fit_is_refused(change: str, said: str) -> None:
    from bakeoff.trial.plan import make_plan

    with pytest.raises(BakeoffError, match=said):
        make_plan(load_protocol("recall-smoke", [change]))
