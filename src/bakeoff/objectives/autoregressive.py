"""Autoregression: each symbol from those before it; or each place's own target from the symbols up to there.

Where the places of a batch have targets of their own (y), the model reads x and predicts y_t at place t. Otherwise it
reads x one place later, behind the symbol "begin", and predicts x_t at place t. Symbols beyond the task's vocabulary
are negative, and "begin" is -1; in prompts, -1 marks what is unknown.

Shapes: B items, L places, V symbols, P places that are asked.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from bakeoff.errors import BakeoffError
from bakeoff.models.batch import Batch
from bakeoff.objectives.base import Draws, Model, Objective
from bakeoff.protocol.sections.sampling import Decoding
from bakeoff.protocol.space import Space
from bakeoff.seeding import generator

BEGIN = UNKNOWN = -1


class Autoregressive(Objective):
    """Cross entropy of symbols, and decoding one after the other."""

    causal = True
    symbols = 1

    def out(self, space: Space) -> int:
        if not space.vocabulary:
            raise BakeoffError(
                "objective autoregressive: needs symbols, and this task has numbers; choose another objective."
            )
        return space.targets or space.vocabulary

    def draws(self, batch: Batch, g: Generator) -> Draws:
        return {}

    def loss(self, model: Model, batch: Batch, draws: Draws, teacher: Model | None = None) -> Tensor:
        """Mean cross entropy in nats over the places that count, float32."""
        nats_BL, weight_BL = self._nats(model, batch)
        return (nats_BL * weight_BL).sum() / weight_BL.sum().clamp_min(1)

    def held_out(self, model: Model, batch: Batch, g: Generator) -> dict[str, Tensor]:
        """Each item's mean cross entropy, in nats, over its places that count."""
        nats_BL, weight_BL = self._nats(model, batch)
        return {"held_out_loss": (nats_BL * weight_BL).sum(1) / weight_BL.sum(1).clamp_min(1)}

    def _nats(self, model: Model, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross entropy of every place, and how much the place counts, float32."""
        x_BL = batch.x
        assert x_BL is not None
        target_BL = x_BL if batch.y is None else batch.y
        logits_BLV = model(read(x_BL, batch.y), None, batch.labels_B, batch.context, batch.hidden_B)
        nats_BL = F.cross_entropy(logits_BLV.float().transpose(1, 2), target_BL, reduction="none")
        weight_BL = torch.ones_like(nats_BL) if batch.weight_BL is None else batch.weight_BL
        return nats_BL, weight_BL.float()

    def start(self, space: Space, prompts: Batch, seed: int) -> Tensor:
        """(B, L) int64: what is given, and -1 at the places that are asked."""
        assert prompts.x is not None and prompts.weight_BL is not None
        return prompts.x.masked_fill(prompts.weight_BL > 0, UNKNOWN)

    def states(
        self, model: Model, prompts: Batch, x: Tensor, sampling: Decoding, seed: int, first: int = 0
    ) -> Iterator[Tensor]:
        """What is known after 0, 1, ... decoded places; targets of their own are all read from one forward pass."""
        yield x
        asked_BL = x < 0
        choose = chooser(sampling.temperature, seed, first)
        if prompts.y is not None:
            assert prompts.x is not None
            logits_BLV = model(prompts.x, None, prompts.labels_B, prompts.context, prompts.hidden_B)
            for t in asked_places(asked_BL):
                x = _with(x, t, choose(logits_BLV[:, t], t))
            yield x
            return
        places = asked_places(asked_BL)
        decode = _decoder(model, prompts)
        for t in range(places[0], x.shape[1]) if places else ():
            logits_BV = decode(x, t)
            if t in places:
                x = _with(x, t, choose(logits_BV, t))
                yield x

    def steps(self, sampling: Decoding, prompts: Batch) -> int:
        return 1 if prompts.y is not None else len(_places(prompts))

    def nfe(self, sampling: Decoding, prompts: Batch) -> int:
        """One if the targets are their own; else one for every place from the first that is asked."""
        if prompts.y is not None:
            return 1
        places = _places(prompts)
        assert prompts.weight_BL is not None
        return prompts.weight_BL.shape[1] - places[0] if places else 0


def read(x_BL: Tensor, y_BL: Tensor | None) -> Tensor:
    """What the model reads to predict every place: x itself, or "begin" and all but the last of x."""
    return x_BL if y_BL is not None else F.pad(x_BL[:, :-1], (1, 0), value=BEGIN)


def asked_places(asked_BL: Tensor) -> list[int]:
    """The places that some item asks for, in order."""
    return asked_BL.any(0).nonzero().flatten().tolist()


def _places(prompts: Batch) -> list[int]:
    assert prompts.weight_BL is not None
    return asked_places(prompts.weight_BL > 0)


def chooser(temperature: float, seed: int, first: int) -> Callable[[Tensor, int], Tensor]:
    """(logits (B, V), place) -> symbols (B,): the likeliest, or drawn by the Gumbel trick.

    Each item has a generator of its own at each place, so that it does not depend on what the other items ask.
    """
    if temperature == 0:
        return lambda logits_BV, t: logits_BV.argmax(-1)

    def draw(logits_BV: Tensor, t: int) -> Tensor:
        generators = (generator("decoding", seed, first + i, t) for i in range(len(logits_BV)))
        rows = [torch.rand(logits_BV.shape[1], generator=one) for one in generators]
        uniform_BV = torch.stack(rows).clamp_min(1e-20).to(logits_BV.device)
        return (logits_BV.float() / temperature - (-uniform_BV.log()).log()).argmax(-1)

    return draw


def _with(x_BL: Tensor, t: int, symbols_B: Tensor) -> Tensor:
    """x with the symbols at place t of the items that ask for it."""
    x_BL = x_BL.clone()
    x_BL[:, t] = torch.where(x_BL[:, t] < 0, symbols_B, x_BL[:, t])
    return x_BL


def _decoder(model: Model, prompts: Batch) -> Callable[[Tensor, int], Tensor]:
    """(what is known, place) -> logits (B, V) of that place; places come one after the other, from any one on.

    A model that can go on token by token reads every token once; another one reads all of them anew for each place.
    """
    reader, done = model.reader(prompts), 0

    def decode(x_BL: Tensor, t: int) -> Tensor:
        nonlocal done
        tokens_BL = read(x_BL[:, : t + 1], None)
        if reader is None:
            return model(tokens_BL, None, prompts.labels_B, prompts.context, prompts.hidden_B)[:, -1]
        logits_BLV = reader.read(tokens_BL[:, done:])
        done = t + 1
        return logits_BLV[:, -1]

    return decode
