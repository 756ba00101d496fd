"""State tracking: the tables are groups, the answers are products, and the bar tells tracking from its look-alikes."""

from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from bakeoff.artefacts.answers import UNKNOWN, Answers
from bakeoff.artefacts.base import Items
from bakeoff.errors import BakeoffError
from bakeoff.protocol.presets import load_protocol
from bakeoff.protocol.statistics import wilson
from bakeoff.seeding import generator
from bakeoff.tasks import build_task, inputs
from bakeoff.tasks.groups import GROUPS, drawn, elements, inverses, latest, products, table
from bakeoff.tasks.tracking import ANSWERS, BASELINES, Tracking, bins, figures, measure

CPU = torch.device("cpu")
ORDERS = {"parity": 2, "s3": 6, "a5": 60, "s5": 120}


def task(*sets: str) -> Tracking:
    built = build_task(load_protocol("tracking-smoke", list(sets)))
    assert isinstance(built, Tracking)
    return built


# ---- groups


def composed(first: tuple[int, ...], then: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(then[first[point]] for point in range(len(first)))


def commutators(group: str, of: set[int]) -> set[int]:
    """The subgroup that all a b a^-1 b^-1 make, of a and b in a subgroup."""
    t, inverse = table(group).tolist(), inverses(group).tolist()
    found = {t[t[a][b]][t[inverse[a]][inverse[b]]] for a in of for b in of}
    while (more := found | {t[a][b] for a in found for b in found}) != found:
        found = more
    return found


@pytest.mark.parametrize("group", GROUPS)
def test_the_table_is_the_groups(group: str) -> None:
    found, t = elements(group), table(group)
    assert len(found) == len(set(found)) == ORDERS[group] and found[0] == tuple(range(len(found[0])))
    sample = range(len(found)) if len(found) <= 60 else range(0, len(found), 7)
    assert all(found[int(t[a, b])] == composed(found[a], found[b]) for a, b in product(sample, repeat=2))
    everything = torch.arange(len(found))
    assert all(torch.equal(row.sort().values, everything) for row in (*t, *t.T))  # a Latin square: inverses exist
    assert torch.equal(t[everything, inverses(group)], torch.zeros_like(everything))
    assert torch.equal(t[inverses(group), everything], torch.zeros_like(everything))
    a, b, c = torch.randint(len(found), (3, 500), generator=torch.Generator().manual_seed(0))
    assert torch.equal(t[t[a, b], c], t[a, t[b, c]])


def test_a5_is_the_even_permutations_and_cannot_be_solved() -> None:
    """Derived series: S3 > A3 > 1, but A5 is its own commutator subgroup, and S5 gets no further than A5."""
    whole = {group: set(range(order)) for group, order in ORDERS.items()}
    a3 = commutators("s3", whole["s3"])
    assert len(a3) == 3 and commutators("s3", a3) == {0}
    assert commutators("parity", whole["parity"]) == {0}
    assert commutators("a5", whole["a5"]) == whole["a5"]
    a5 = {elements("s5")[i] for i in commutators("s5", whole["s5"])}
    assert a5 == set(elements("a5"))


@pytest.mark.parametrize("group", GROUPS)
def test_answers_are_the_products_so_far(group: str) -> None:
    tokens = drawn(group, 5, 30, generator("test", 2))
    found = products(group, tokens)
    for row, answers in zip(tokens.tolist(), found.tolist(), strict=True):
        for t in (0, 1, 7, 29):
            whole = reduce(composed, (elements(group)[one] for one in row[: t + 1]))
            assert elements(group)[answers[t]] == whole
    if group == "parity":
        assert torch.equal(found, tokens.cumsum(1) % 2)
    for size in (1, 3, 30):
        last = latest(group, found, size)
        for t in (0, 5, 29):
            assert torch.equal(last[:, t], products(group, tokens[:, max(0, t + 1 - size) : t + 1])[:, -1])


# ---- data


def test_a_batch_follows_from_seed_and_step_and_has_one_length() -> None:
    data = task("task.lengths=[3, 9]").data(CPU)
    assert data is not None and data.epoch_steps is None
    lengths = set()
    for step in range(40):
        batch, again, other = data.batch(1, step), data.batch(1, step), data.batch(2, step)
        assert batch.x is not None and batch.y is not None and batch.weight_BL is not None
        assert torch.equal(batch.x, again.x) and torch.equal(batch.y, products("parity", batch.x))  # type: ignore[arg-type]
        assert batch.x.shape != other.x.shape or not torch.equal(batch.x, other.x)  # type: ignore[union-attr, arg-type]
        assert batch.weight_BL.min() == 1
        lengths.add(batch.x.shape[1])
    assert lengths == set(range(3, 10))


def test_splits_and_lengths() -> None:
    made = task()
    train, valid, test = (made.data(CPU, split=split) for split in ("train", "valid", "test"))
    assert train is not None and valid is not None and test is not None
    held, tested = valid.whole(), test.whole()
    assert held is not None and tested is not None and held.x is not None and tested.x is not None
    assert held.x.shape == (1024, 16) and tested.x.shape == (1024, 32)
    assert train.batch(0, 0).x is not None and made.data(CPU, length=5).batch(0, 0).x.shape == (64, 5)  # type: ignore[union-attr]
    few, many = made.prompts(3), made.prompts(200)
    assert torch.equal(few.x, many.x[:3]) and torch.equal(few.truth["answers"], many.truth["answers"][:3])  # type: ignore[index]
    assert few.y is not None and (few.y == UNKNOWN).all()
    assert torch.equal(many.x[:200], tested.x[:200])  # type: ignore[index]
    assert inputs(load_protocol("tracking-smoke")) != inputs(load_protocol("tracking-smoke", ['task.group="s3"']))


# ---- figures


def answered(made: Tracking, answers: torch.Tensor) -> Items:
    return made.items(answers, made.prompts(len(answers)))


def test_right_answers_score_one_and_guesses_nothing() -> None:
    made = task('task.group="s3"')
    prompts = made.prompts(400)
    truth = prompts.truth["answers"]  # type: ignore[index]
    perfect = made.assess(answered(made, truth), prompts)
    assert perfect.figures == {"tracked": 1.0, "accuracy": 1.0} and perfect.samples == 400
    guessed = made.assess(answered(made, torch.randint(6, truth.shape, generator=generator("g", 0))), prompts)
    assert abs(guessed.figures["tracked"]) < 0.05 and guessed.figures["accuracy"] == pytest.approx(1 / 6, abs=0.02)
    worst = figures(np.zeros((3, 8), bool), 6)
    assert worst["tracked"] == pytest.approx(-1 / 5) and worst["accuracy"] == 0


def test_the_end_alone_is_scored_and_places_are_told() -> None:
    """Right at the trained places only: the last quarter of 32 places is guessed, the first 16 are right."""
    made = task()
    prompts = made.prompts(500)
    truth = prompts.truth["answers"]  # type: ignore[index]
    answers = truth.clone()
    answers[:, 24:] = 1 - truth[:, 24:]
    answers[:250, 24:] = truth[:250, 24:]
    quality = made.assess(answered(made, answers), prompts)
    assert quality.figures["tracked"] == pytest.approx(0) and quality.figures["accuracy"] == pytest.approx(0.875)
    first, last, share, low, high = quality.detail.values()
    assert list(zip(first, last, strict=True)) == [(1, 16), (17, 32)]
    assert share == pytest.approx([1, 0.75]) and (low[1], high[1]) == pytest.approx(wilson(375, 500))


def test_bins() -> None:
    assert bins(40, 256) == [(1, 40), (41, 64), (65, 128), (129, 256)]
    assert bins(16, 16) == [(1, 16)] and bins(40, 41) == [(1, 40), (41, 41)] and bins(1, 3) == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("group", ["parity", "s3", "a5"])
def test_the_bar_lets_the_truth_pass_and_nothing_else(group: str) -> None:
    protocol = load_protocol("tracking-quick", [f'task.group="{group}"'])
    found = measure(build_task(protocol).section, 256)  # type: ignore[attr-defined]
    bar = protocol.bar.thresholds["tracked"]
    (kinds,) = found.samples.values()
    assert kinds["real"]["tracked"] == (1.0, 1.0, 1.0)
    assert all(kinds[name]["tracked"][2] < bar - 0.3 for name in ANSWERS if name != "real")
    assert {*found.baselines} == {*BASELINES} and all(abs(one["tracked"]) < 0.05 for one in found.baselines.values())
    assert found.digest() == measure(build_task(protocol).section, 256).digest()  # type: ignore[attr-defined]


# ---- what people type


def test_a_typed_sequence_is_asked_at_every_element() -> None:
    made = task()
    assert made.example == " ".join(map(str, made.prompts(1).x[0, :16].tolist()))  # type: ignore[index]
    typed = made.typed("1, 0 1 1")
    assert typed.x is not None and typed.x.tolist() == [[1, 0, 1, 1]]
    assert typed.truth is not None and typed.truth["answers"].tolist() == [[1, 1, 0, 1]]
    unanswered = made.items(torch.full((1, 4), UNKNOWN), typed)
    assert unanswered["answers"].tolist() == [[UNKNOWN] * 4]


@pytest.mark.parametrize("text", ["", "2", "1 x", "-1", " ".join("1" * 33)])
def test_what_is_no_sequence_is_refused(text: str) -> None:
    with pytest.raises(BakeoffError, match="allowed: 1 to 32 whole numbers from 0 to 1"):
        task().typed(text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("task.lengths=[5, 3]", "the shortest first"),
        ("task.lengths=[0, 3]", "the shortest first"),
        ("task.lengths=[3, 64]", "test_length = 32"),
        ('task.group="a4"', "task.group"),
    ],
)
def test_what_cannot_be_is_refused(change: str, said: str) -> None:
    with pytest.raises(BakeoffError, match=said):
        load_protocol("tracking-smoke", [change])


def test_the_sheet_has_every_element() -> None:
    made = task()
    items: Any = answered(made, made.prompts(3).truth["answers"])  # type: ignore[index]
    kind = Answers()
    assert kind.sheet(items).size[0] > 800 and kind.unpack(kind.pack(items), 3)["tokens"].shape == (3, 32)
