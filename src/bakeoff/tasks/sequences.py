"""Sequences that ask for what stood earlier in them, drawn from a generator.

`mqar` is multi-query associative recall [Arora et al. 2023, Zoology]: pairs of key and value, then each key once more,
and its value is asked at the key's own place. `needle` puts the pairs anywhere and asks for all at the end;
`induction` asks what followed a special symbol [Olsson et al. 2022]; `copying` asks for symbols that stood among
blanks, in their order [selective copying, Gu and Dao 2023].

Shapes: B sequences, L tokens, P pairs, G places for a question.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from bakeoff.artefacts.answers import ASKED, FACT, KEY, OTHER
from bakeoff.errors import BakeoffError
from bakeoff.protocol.sections.tasks import Recall
from bakeoff.seeding import generator

BLANK = 0  # a symbol; the special one is the vocabulary's last
EARLY = 0.01  # how early keys are asked again: the g-th place has a chance like (g + 1)^(EARLY - 1) [Zoology]
BLOCK = 64  # sequences of a fixed set are made so many at a time, so that the first k do not depend on the count


class Sequences(NamedTuple):
    """Whole sequences.

    Attributes:
        tokens_BL: int64.
        answers_BL: int64, what is right at each place that is asked, and 0 elsewhere.
        marks_BL: int64, what each token is, as in `bakeoff.artefacts.answers`.
    """

    tokens_BL: Tensor
    answers_BL: Tensor
    marks_BL: Tensor

    @property
    def asked_BL(self) -> Tensor:
        return self.marks_BL == ASKED


def drawn(section: Recall, count: int, g: Generator) -> Sequences:
    """`count` sequences, whose numbers of pairs take turns."""
    each = -(-count // len(section.pairs))
    made = [MAKERS[section.variant](section, pairs, each, g) for pairs in section.pairs]
    return Sequences(*(torch.stack(one, 1).flatten(0, 1)[:count] for one in zip(*made, strict=True)))


def fixed(section: Recall, name: str, count: int) -> Sequences:
    """The first `count` sequences of a set that does not change."""
    return _fixed(section.model_dump_json(), name, count)


@lru_cache(maxsize=8)
def _fixed(options: str, name: str, count: int) -> Sequences:
    section = Recall.model_validate_json(options)
    blocks = [drawn(section, BLOCK, generator(f"recall {name}", i)) for i in range(-(-count // BLOCK))]
    return Sequences(*(torch.cat(one)[:count] for one in zip(*blocks, strict=True)))


def possible_answers(section: Recall) -> tuple[int, int]:
    """The symbols that can be answers: from the first to before the second."""
    if section.variant in ("mqar", "needle"):
        return section.vocabulary // 2, section.vocabulary
    return (BLANK + 1 if section.variant == "copying" else 0), section.vocabulary - 1


def mqar(section: Recall, pairs: int, count: int, g: Generator) -> Sequences:
    """Keys and values at the beginning; then each key again, early more often than late."""
    keys_BP, values_BP = _pairs(section, pairs, count, g)
    tokens_BL = _filled(section, count, g)
    facts_BP = (2 * torch.arange(pairs)).expand(count, -1)
    places = (section.length - 2 * pairs) // 2
    chances_G = (EARLY - 1) * torch.arange(1.0, places + 1).log()
    gumbel_BG = -(-torch.rand(count, places, generator=g).clamp_min(1e-20).log()).log()
    asked_BP = 2 * pairs + 2 * (chances_G + gumbel_BG).topk(pairs, dim=1).indices  # drawn without replacement
    return _written(tokens_BL, keys_BP, values_BP, facts_BP, asked_BP)


def needle(section: Recall, pairs: int, count: int, g: Generator) -> Sequences:
    """Pairs anywhere, and all keys once more at the end; no other token is one of the keys."""
    keys_BP, values_BP = _pairs(section, pairs, count, g)
    tokens_BL = _filled(section, count, g)
    is_key_BL = (tokens_BL.unsqueeze(-1) == keys_BP.unsqueeze(1)).any(-1)
    facts_BP = 2 * _different(count, 0, (section.length - pairs) // 2, pairs, g)
    asked_BP = section.length - pairs + torch.rand(count, pairs, generator=g).argsort(1)
    return _written(tokens_BL.masked_fill(is_key_BL, BLANK), keys_BP, values_BP, facts_BP, asked_BP)


def induction(section: Recall, pairs: int, count: int, g: Generator) -> Sequences:
    """A special symbol somewhere and at the end: what followed it?"""
    tokens_BL = torch.randint(section.vocabulary - 1, (count, section.length), generator=g)
    place_B1 = torch.randint(section.length - 2, (count, 1), generator=g)
    tokens_BL.scatter_(1, place_B1, section.vocabulary - 1)
    tokens_BL[:, -1] = section.vocabulary - 1
    marks_BL = torch.zeros_like(tokens_BL).scatter_(1, place_B1, KEY).scatter_(1, place_B1 + 1, FACT)
    marks_BL[:, -1] = ASKED
    answers_BL = torch.zeros_like(tokens_BL)
    answers_BL[:, -1:] = tokens_BL.gather(1, place_B1 + 1)
    return Sequences(tokens_BL, answers_BL, marks_BL)


def copying(section: Recall, pairs: int, count: int, g: Generator) -> Sequences:
    """Symbols among blanks, then the special symbol, then the same symbols without the blanks."""
    symbols_BP = torch.randint(BLANK + 1, section.vocabulary - 1, (count, pairs), generator=g)
    room = section.length - pairs - 1
    places_BP = _different(count, 0, room, pairs, g).sort(1).values
    tokens_BL = torch.full((count, section.length), BLANK).scatter_(1, places_BP, symbols_BP)
    marks_BL = torch.zeros_like(tokens_BL).scatter_(1, places_BP, FACT)
    tokens_BL[:, room], tokens_BL[:, room + 1 :], marks_BL[:, room + 1 :] = section.vocabulary - 1, symbols_BP, ASKED
    return Sequences(tokens_BL, tokens_BL.masked_fill(marks_BL != ASKED, 0), marks_BL)


MAKERS: dict[str, Callable[[Recall, int, int, Generator], Sequences]] = {
    "mqar": mqar,
    "needle": needle,
    "induction": induction,
    "copying": copying,
}


def _filled(section: Recall, count: int, g: Generator) -> Tensor:
    if section.filler == "blank":
        return torch.full((count, section.length), BLANK)
    return torch.randint(section.vocabulary, (count, section.length), generator=g)


def _different(count: int, low: int, high: int, size: int, g: Generator) -> Tensor:
    """(count, size) of low ... high - 1, each once in a row."""
    return torch.rand(count, high - low, generator=g).argsort(1)[:, :size] + low


def _pairs(section: Recall, pairs: int, count: int, g: Generator) -> tuple[Tensor, Tensor]:
    """Keys from the first half of the vocabulary, values from the second; symbol 0 is none of them."""
    half = section.vocabulary // 2
    return _different(count, BLANK + 1, half, pairs, g), _different(count, half, section.vocabulary, pairs, g)


def _written(tokens_BL: Tensor, keys_BP: Tensor, values_BP: Tensor, facts_BP: Tensor, asked_BP: Tensor) -> Sequences:
    """With each key and its value at the places `facts` and `facts` + 1, and the key again where it is asked."""
    answers_BL, marks_BL = torch.zeros_like(tokens_BL), torch.zeros_like(tokens_BL)
    written = (facts_BP, keys_BP, KEY), (facts_BP + 1, values_BP, FACT), (asked_BP, keys_BP, ASKED)
    for places_BP, symbols_BP, mark in written:
        tokens_BL.scatter_(1, places_BP, symbols_BP)
        marks_BL.scatter_(1, places_BP, mark)
    answers_BL.scatter_(1, asked_BP, values_BP)
    return Sequences(tokens_BL, answers_BL, marks_BL)


def written(section: Recall, text: str) -> Sequences:
    """One sequence from a text of symbols; a key that comes again behind its value is asked.

    Raises:
        BakeoffError: it is none of this protocol's, or asks nothing.
    """
    low, high = 0, section.vocabulary - 1
    parts = text.replace(",", " ").split()
    if not all(part.isdecimal() and low <= int(part) <= high for part in parts) or len(parts) != section.length:
        raise BakeoffError(
            f"prompt: {len(parts)} symbols, {text[:80]!r}; allowed: {section.length} whole numbers from {low} to "
            f"{high}, with blanks between them."
        )
    tokens_L = list(map(int, parts))
    facts: dict[int, int] = {}  # key -> its place
    for t in range(section.length - 1):
        if tokens_L[t] not in facts and _is_fact(section, tokens_L, t):
            facts[tokens_L[t]] = t
    answers_L, marks_L = [0] * section.length, [OTHER] * section.length
    for t, token in enumerate(tokens_L):
        if (given := facts.get(token, t)) + 1 < t:
            answers_L[t], marks_L[t] = tokens_L[given + 1], ASKED
            marks_L[given], marks_L[given + 1] = KEY, FACT
    if ASKED not in marks_L:
        raise BakeoffError("prompt: asks nothing; give a key with its value as the example does, and repeat the key.")
    return Sequences(*(torch.tensor([one]) for one in (tokens_L, answers_L, marks_L)))


def _is_fact(section: Recall, tokens_L: Sequence[int], t: int) -> bool:
    """Whether a key and its value stand at t and behind it, as this protocol's sequences have them."""
    if section.variant == "induction":
        return tokens_L[t] == section.vocabulary - 1
    half = section.vocabulary // 2
    in_place = t % 2 == 0 and (section.variant == "needle" or t < 2 * max(section.pairs))
    return in_place and BLANK < tokens_L[t] < half <= tokens_L[t + 1]
