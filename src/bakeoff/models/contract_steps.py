"""The clauses of a mixer's contract that speak of going on token by token: `start`, `prefill` and `step`.

Shapes: B batch, L tokens, D = d_model.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from bakeoff.models.mixers.base import step, steps

D_MODEL = 32  # of the mixers that are built
B, L, CLOSE = 2, 37, 1e-4
SPLITS = (0, 1, 2, 5, 36, 37)
SHORT, LONG = 128, 4096  # tokens
FLAT = 1.10  # a step after LONG tokens over one after SHORT, at most, where the state has not grown
ROUNDS, STEPS, TRIES = 15, 8, 3
NONE = "no start and prefill: it is trained and assessed by forward passes, and cannot decode token by token"

Clause = tuple[str, Callable[[], str]]


def steps_clauses(build: Callable[[], nn.Module], state_bytes: Callable[[nn.Module, int, int], int]) -> list[Clause]:
    """The clauses of a class whose `build` gives a causal mixer in its evaluating state."""
    bench = _Bench(build, state_bytes)
    return [
        ("prefill and step go on as forward reads", bench.goes_on),
        ("its state is as large as state_bytes(L) says", bench.state),
        ("a step takes no longer where the state does not grow", bench.flat),
    ]


class _Bench:
    def __init__(self, build: Callable[[], nn.Module], state_bytes: Callable[[nn.Module, int, int], int]) -> None:
        self._build, self._state_bytes = build, state_bytes

    @torch.no_grad()
    def goes_on(self) -> str:
        mixer: Any = self._build()
        if not steps(mixer):
            return NONE
        x_BLD = torch.randn(B, L, D_MODEL, generator=torch.Generator().manual_seed(7))
        whole_BLD, worst = mixer(x_BLD), 0.0
        for split in SPLITS:
            state, parts = mixer.start(B), []
            if split:
                y_BLD, state = mixer.prefill(x_BLD[:, :split], state)
                parts.append(y_BLD)
            for t in range(split, L):
                y_BD, state = step(mixer, x_BLD[:, t], state)
                parts.append(y_BD.unsqueeze(1))
            worst = max(worst, _compared(torch.cat(parts, 1), whole_BLD, f"after a prefill of {split} tokens"))
        state, parts = mixer.start(B), []
        for first, end in ((0, 3), (3, 20), (20, L)):
            y_BLD, state = mixer.prefill(x_BLD[:, first:end], state)
            parts.append(y_BLD)
        worst = max(worst, _compared(torch.cat(parts, 1), whole_BLD, "in prefills of 3, 17 and 17 tokens"))
        return f"largest relative difference {worst:.0e} after prefills of {', '.join(map(str, SPLITS))} of {L} tokens"

    @torch.no_grad()
    def state(self) -> str:
        mixer: Any = self._build()
        if not steps(mixer):
            return NONE
        found = {}
        for length in (SHORT, 3 * SHORT):
            held = _bytes(_read(mixer, 1, length))
            stated = self._state_bytes(mixer, length, D_MODEL)
            assert held == stated, f"after {length} tokens it holds {held:,} bytes; state_bytes says {stated:,}"
            found[length] = held
        return ", ".join(f"{held:,} bytes after {length} tokens" for length, held in found.items())

    @torch.no_grad()
    def flat(self) -> str:
        mixer: Any = self._build()
        if not steps(mixer):
            return NONE
        grows = self._state_bytes(mixer, LONG, D_MODEL) > self._state_bytes(mixer, SHORT, D_MODEL)
        said = ""
        for _ in range(TRIES):  # others may be at work on this machine
            short, long = _step_ms(mixer)
            said = f"{short:.3f} ms a step after {SHORT} tokens, {long:.3f} after {LONG:,}"
            if grows or long <= FLAT * short:
                return said + (" (its state grows)" if grows else "")
        raise AssertionError(f"{said}, though its state does not grow; allowed: {FLAT:g} times")


def _compared(found_BLD: Tensor, whole_BLD: Tensor, when: str) -> float:
    """The relative difference. Raises AssertionError that names the first token that differs."""
    scale = whole_BLD.abs().max().clamp_min(1e-6)
    gaps_L = (found_BLD - whole_BLD).abs().amax((0, 2)) / scale
    wrong = (~(gaps_L < CLOSE)).nonzero().flatten().tolist()
    assert not wrong, f"{when}, token {wrong[0]} differs from forward by {gaps_L[wrong[0]].item():.1e}"
    return gaps_L.max().item()


def _read(mixer: Any, count: int, length: int) -> Any:
    """The state after `length` tokens."""
    x_BLD = torch.randn(count, length, D_MODEL, generator=torch.Generator().manual_seed(length))
    return mixer.prefill(x_BLD, mixer.start(count))[1]


def _bytes(state: Any) -> int:
    """Bytes of all tensors in a state, whatever it is made of."""
    return sum(one.nbytes for one in {id(one): one for one in _tensors(state)}.values())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _tensors(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)
    elif hasattr(value, "__dict__"):
        yield from _tensors(vars(value))


def _step_ms(mixer: Any) -> tuple[float, float]:
    """CPU milliseconds of a step after SHORT and after LONG tokens, in turn: medians."""
    states = {length: _read(mixer, 1, length) for length in (SHORT, LONG)}
    x_BD = torch.randn(1, D_MODEL, generator=torch.Generator().manual_seed(1))
    times: dict[int, list[float]] = {length: [] for length in states}
    for done in range(-2, ROUNDS):
        for length in states:
            before = time.process_time()
            for _ in range(STEPS):
                _, states[length] = step(mixer, x_BD, states[length])
            if done >= 0:
                times[length].append(1e3 * (time.process_time() - before) / STEPS)
    return statistics.median(times[SHORT]), statistics.median(times[LONG])
