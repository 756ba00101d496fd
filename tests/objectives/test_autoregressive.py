"""Autoregression: the loss by hand, what a place may see, and decoding that equals reading all at once."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bakeoff.errors import BakeoffError
from bakeoff.models.backbones import build_mixers
from bakeoff.models.batch import Batch
from bakeoff.models.trunk import Frame, Trunk
from bakeoff.objectives import Generator
from bakeoff.objectives.autoregressive import Autoregressive
from bakeoff.protocol.sections.sampling import Decoding
from bakeoff.protocol.space import Space

V, L, B = 7, 12, 5
GREEDY = Decoding(kind="decoding")
OBJECTIVE = Autoregressive()


def trunk(space: Space, layers: tuple[str, ...] = ("mamba", "attention", "mlp")) -> Trunk:
    torch.manual_seed(0)
    mixers = build_mixers(layers, 16, {"mamba": 32, "attention": 16, "mlp": 32}, {}, "raster", causal=True)
    model = Trunk(Frame(space, 16, "learned", "adaln", V, times=0, symbols=1), mixers).eval()
    nn.init.normal_(model.head.out.weight)
    nn.init.normal_(model.embed.weight)
    return model


def sequences(seed: int = 3) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    weight_BL = (torch.rand(B, L, generator=g) < 0.4).float()
    weight_BL[:, -1] = 1
    return torch.randint(V, (B, L), generator=g), weight_BL


NEXT = Space(L, vocabulary=V)
OWN = Space(L, vocabulary=V, targets=V)


def test_the_loss_is_the_mean_of_minus_log_p_where_it_counts() -> None:
    model, (x_BL, weight_BL) = trunk(NEXT), sequences()
    read_BL = torch.cat([torch.full((B, 1), -1), x_BL[:, :-1]], 1)
    log_p = model(read_BL).double().log_softmax(-1)
    by_hand = [-log_p[b, t, x_BL[b, t]] for b in range(B) for t in range(L) if weight_BL[b, t]]
    loss = OBJECTIVE.loss(model, Batch(x_BL, weight_BL=weight_BL), {})
    assert loss.item() == pytest.approx((sum(by_hand) / len(by_hand)).item(), rel=1e-5)
    held = OBJECTIVE.held_out(model, Batch(x_BL, weight_BL=weight_BL), torch.Generator())["held_out_loss"]
    assert (held * weight_BL.sum(1)).sum().item() == pytest.approx(loss.item() * weight_BL.sum().item(), rel=1e-5)


def test_targets_of_their_own_are_predicted_at_their_place() -> None:
    model, (x_BL, weight_BL) = trunk(OWN), sequences()
    y_BL = sequences(9)[0]
    log_p = model(x_BL).double().log_softmax(-1)
    by_hand = [-log_p[b, t, y_BL[b, t]] for b in range(B) for t in range(L) if weight_BL[b, t]]
    loss = OBJECTIVE.loss(model, Batch(x_BL, y_BL, weight_BL=weight_BL), {})
    assert loss.item() == pytest.approx((sum(by_hand) / len(by_hand)).item(), rel=1e-5)


@pytest.mark.parametrize("place", [0, 1, 6, L - 1])
def test_a_place_sees_nothing_of_its_own_answer_or_later(place: int) -> None:
    """The loss at a place does not change with any symbol behind it, and with its own only as the target."""
    model, (x_BL, _) = trunk(NEXT), sequences()
    weight_BL = torch.zeros(B, L)
    weight_BL[:, place] = 1
    changed_BL = x_BL.clone()
    changed_BL[:, place + 1 :] = (changed_BL[:, place + 1 :] + 1) % V
    one, other = (OBJECTIVE.loss(model, Batch(x, weight_BL=weight_BL), {}).item() for x in (x_BL, changed_BL))
    assert one == pytest.approx(other, abs=1e-6)
    if place:
        before_BL = x_BL.clone()
        before_BL[:, place - 1] = (before_BL[:, place - 1] + 1) % V
        assert abs(OBJECTIVE.loss(model, Batch(before_BL, weight_BL=weight_BL), {}).item() - one) > 1e-4


def prompts(x_BL: Tensor, weight_BL: Tensor) -> Batch:
    return Batch(x_BL.masked_fill(weight_BL > 0, -1), weight_BL=weight_BL)


def by_hand(model: Trunk, asked: Batch) -> Tensor:
    """Place after place, each from a forward pass over all that is known."""
    assert asked.x is not None
    x_BL = asked.x.clone()
    for t in range(L):
        read_BL = torch.cat([torch.full((B, 1), -1), x_BL[:, :-1].clamp_min(0)], 1)
        best_B = model(read_BL)[:, t].argmax(-1)
        x_BL[:, t] = torch.where(x_BL[:, t] < 0, best_B, x_BL[:, t])
    return x_BL


@pytest.mark.parametrize("reads_on", [True, False])
@torch.no_grad()
def test_decoding_gives_what_reading_everything_anew_gives(reads_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = trunk(NEXT), prompts(*sequences())
    if not reads_on:
        monkeypatch.setattr(Trunk, "why_no_reader", lambda self: "no steps")
    generated = Generator(OBJECTIVE, NEXT, model)(asked, GREEDY, 0)
    assert torch.equal(generated.x, by_hand(model, asked))
    assert generated.nfe == OBJECTIVE.nfe(GREEDY, asked)
    assert asked.x is not None and torch.equal(generated.x[asked.x >= 0], asked.x[asked.x >= 0])


@torch.no_grad()
def test_what_is_decoded_is_the_likeliest_when_it_is_read_back() -> None:
    """Each answer is the argmax at its place where the whole answer is read at once."""
    model, asked = trunk(NEXT), prompts(*sequences())
    x_BL = Generator(OBJECTIVE, NEXT, model)(asked, GREEDY, 0).x
    best_BL = model(torch.cat([torch.full((B, 1), -1), x_BL[:, :-1]], 1)).argmax(-1)
    assert asked.x is not None and torch.equal(best_BL[asked.x < 0], x_BL[asked.x < 0])


@torch.no_grad()
def test_states_fill_one_place_after_the_other() -> None:
    model, asked = trunk(NEXT), prompts(*sequences())
    states = list(Generator(OBJECTIVE, NEXT, model).states(asked, GREEDY, 0))
    open_places = [int((state < 0).any(0).sum()) for state in states]
    assert open_places == list(range(open_places[0], -1, -1))
    assert len(states) == 1 + OBJECTIVE.steps(GREEDY, asked)


@torch.no_grad()
def test_own_targets_take_one_pass() -> None:
    model, (x_BL, weight_BL) = trunk(OWN), sequences()
    asked = Batch(x_BL, torch.full_like(x_BL, -1), weight_BL=weight_BL)
    generated = Generator(OBJECTIVE, OWN, model)(asked, GREEDY, 0)
    assert generated.nfe == OBJECTIVE.nfe(GREEDY, asked) == 1
    assert torch.equal(generated.x, torch.where(weight_BL > 0, model(x_BL).argmax(-1), x_BL))


@torch.no_grad()
def test_what_is_drawn_does_not_depend_on_the_other_items() -> None:
    model, asked = trunk(NEXT), prompts(*sequences())
    draw = Decoding(kind="decoding", temperature=1.0)
    together, in_pairs = (Generator(OBJECTIVE, NEXT, model)(asked, draw, 5, at_once=n).x for n in (B, 2))
    assert torch.equal(together, in_pairs)
    assert not torch.equal(together, Generator(OBJECTIVE, NEXT, model)(asked, draw, 6).x)
    cold = Decoding(kind="decoding", temperature=1e-4)
    assert torch.equal(Generator(OBJECTIVE, NEXT, model)(asked, cold, 5).x, by_hand(model, asked))


class Fixed(nn.Module):
    """Always the same chances."""

    def __init__(self, chances: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(chances).log())

    def forward(self, x: Tensor, *others: Any) -> Tensor:
        return self.logits.expand(*x.shape, -1)

    def reader(self, *others: Any) -> None:
        return None


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@torch.no_grad()
def test_symbols_are_drawn_with_their_chances(temperature: float) -> None:
    """Pearson's chi-squared of 2 000 draws against softmax(logits / T): below its 99.9 % quantile, 13.8 at 2 d.f."""
    chances = torch.tensor([0.6, 0.3, 0.1])
    count = 2000
    asked = Batch(torch.full((count, 1), -1), weight_BL=torch.ones(count, 1))
    sampling = Decoding(kind="decoding", temperature=temperature)
    drawn = Generator(OBJECTIVE, Space(1, vocabulary=3), Fixed(chances.tolist()))(asked, sampling, 1).x
    expected = count * (chances.log() / temperature).softmax(-1)
    assert ((drawn.flatten().bincount(minlength=3) - expected).square() / expected).sum() < 13.8


def test_numbers_are_refused() -> None:
    with pytest.raises(BakeoffError, match="needs symbols"):
        OBJECTIVE.out(Space(4, channels=2))
    assert OBJECTIVE.out(NEXT) == V and OBJECTIVE.out(Space(4, vocabulary=3, targets=9)) == 9
