"""Captured solves: which solve is replayed, that it is the same solve, and what happens where none can be captured.

Without a GPU a capture is played by running the same work again on the same buffers, which is what a replay does; with
one the last tests capture CUDA graphs.
"""

import gc
import logging
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bakeoff.objectives import CapturedSolves, Guided, Trajectory, solve
from bakeoff.objectives._cuda_graph import MOST, Replay, Uncapturable


class Again:
    """Captures by remembering the work; a replay does it again and writes what was returned first anew."""

    def __init__(self) -> None:
        self.captures = self.replays = 0

    def __call__(self, work: Callable[[], Trajectory], device: torch.device) -> tuple[Trajectory, Replay]:
        self.captures += 1
        kept = work()

        def replay() -> None:
            self.replays += 1
            again = work()
            for mine, new in zip([kept.x, *(kept.path or [])], [again.x, *(again.path or [])], strict=True):
                mine.copy_(new)

        return kept, replay


def anywhere(device: torch.device) -> bool:
    return True


class Velocity(nn.Module):
    """A small field: x, t and the label each matter."""

    def __init__(self) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(3, 3, generator=g))
        self.label = nn.Parameter(torch.randn(11, 3, generator=g))

    def forward(self, x_BLC: Tensor, t_B: Tensor, labels_B: Tensor | None) -> Tensor:
        v_BLC = torch.tanh(x_BLC @ self.weight) + t_B[:, None, None]
        return v_BLC if labels_B is None else v_BLC + self.label[labels_B][:, None]


def work_of(model: nn.Module, steps: int = 4, weight: float = 2.0, keep_path: bool = False) -> Callable:
    def work(noise_BLC: Tensor, labels_B: Tensor | None) -> Trajectory:
        return solve(Guided(model, labels_B, 10, weight), noise_BLC, steps, "euler", keep_path=keep_path)

    return work


def noises(count: int, B: int = 5, device: str = "cpu") -> list[tuple[Tensor, Tensor]]:
    g = torch.Generator().manual_seed(1)
    drawn = [(torch.randn(B, 2, 3, generator=g), torch.randint(10, (B,), generator=g)) for _ in range(count)]
    return [(noise.to(device), labels.to(device)) for noise, labels in drawn]


@pytest.mark.parametrize("keep_path", [False, True])
def test_the_second_solve_is_captured_and_all_are_the_same_as_without(keep_path: bool) -> None:
    capture, model = Again(), Velocity()
    solves, work = CapturedSolves(capture, anywhere), work_of(model, keep_path=keep_path)
    inputs = noises(4)
    found = [solves(model, keep_path, work, *one) for one in inputs]
    assert (capture.captures, capture.replays) == (1, 3)
    for ours, exact in zip(found, [work(*one) for one in inputs], strict=True):  # none was overwritten by a later one
        assert torch.equal(ours.x, exact.x) and ours.nfe == exact.nfe == 8
        assert (ours.path is None) == (exact.path is None) == (not keep_path)
        for mine, other in zip(ours.path or [], exact.path or [], strict=True):
            assert torch.equal(mine, other)


def test_what_came_once_is_not_captured() -> None:
    capture, model = Again(), Velocity()
    solves = CapturedSolves(capture, anywhere)
    (noise, labels), (other, _) = noises(1)[0], noises(1, B=2)[0]
    for settings, steps, x, y in ((4, 4, noise, labels), (5, 5, noise, labels), (4, 4, other, labels[:2])):
        assert torch.equal(solves(model, settings, work_of(model, steps), x, y).x, work_of(model, steps)(x, y).x)
    assert torch.equal(solves(model, 4, work_of(model), noise, None).x, work_of(model)(noise, None).x)
    model.train(False)
    solves(model, 4, work_of(model), noise, labels)
    assert capture.captures == 0


def test_weights_may_change_in_place_and_are_followed_when_they_move() -> None:
    capture, model = Again(), Velocity()
    solves, work = CapturedSolves(capture, anywhere), work_of(model)
    (one,) = noises(1)
    before = [solves(model, (), work, *one).x for _ in range(2)][-1]
    with torch.no_grad():
        model.weight.mul_(-1)
    changed = solves(model, (), work, *one).x
    assert capture.replays == 2 and torch.equal(changed, work(*one).x) and not torch.equal(changed, before)
    model.weight = nn.Parameter(model.weight.detach() * 3)
    assert torch.equal(solves(model, (), work, *one).x, work(*one).x)
    assert (capture.captures, capture.replays) == (1, 2)  # the first solve with weights elsewhere


@pytest.mark.parametrize("error,spread", [(Uncapturable("it waits"), False), (RuntimeError("it broke"), True)])
def test_a_field_that_cannot_be_captured_is_solved_without(
    error: RuntimeError, spread: bool, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    def refuse(work: Callable[[], Trajectory], device: torch.device) -> tuple[Trajectory, Replay]:
        tried.append(work)
        raise error

    solves, first, second = CapturedSolves(refuse, anywhere), Velocity(), Velocity()
    with caplog.at_level(logging.WARNING):
        for one in noises(4):
            found = solves(first, (), work_of(first), *one)
            assert torch.equal(found.x, work_of(first)(*one).x) and found.nfe == 8
    assert len(tried) == len(caplog.records) == 1 and str(error) in caplog.text
    assert str(error) in solves.why_not(first) and bool(solves.why_not(second)) == spread
    for one in noises(2):
        solves(second, (), work_of(second), *one)
    assert len(tried) == (1 if spread else 2)


def test_an_error_of_the_field_itself_is_not_hidden() -> None:
    def broken(noise_BLC: Tensor, labels_B: Tensor | None) -> Trajectory:
        raise RuntimeError("sizes do not fit")

    solves = CapturedSolves(Again(), anywhere)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="sizes do not fit"):
            solves(Velocity(), (), broken, *noises(1)[0])


def test_graphs_are_few_and_live_no_longer_than_their_model() -> None:
    held: list[weakref.ref] = []

    def capture(work: Callable[[], Trajectory], device: torch.device) -> tuple[Trajectory, Replay]:
        kept = work()
        held.append(weakref.ref(kept))
        return kept, lambda: None

    solves, model = CapturedSolves(capture, anywhere), Velocity()
    for B in range(1, MOST + 3):
        for one in noises(2, B):
            solves(model, (), work_of(model), *one)
    gc.collect()
    assert sum(one() is not None for one in held) == MOST
    del model
    gc.collect()
    assert not any(one() for one in held)


def test_on_the_cpu_nothing_is_captured() -> None:
    capture, model = Again(), Velocity()
    solves = CapturedSolves(capture)
    for one in noises(3):
        solves(model, (), work_of(model), *one)
    assert capture.captures == 0 and not solves.why_not(model)


on_a_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@on_a_card
def test_a_cuda_graph_solves_as_without() -> None:
    model = Velocity().cuda()
    solves, work, inputs = CapturedSolves(), work_of(model), noises(4, device="cuda")
    found = [solves(model, (), work, *one) for one in inputs]
    assert not solves.why_not(model)
    for ours, one in zip(found, inputs, strict=True):
        torch.testing.assert_close(ours.x, work(*one).x)
        assert ours.nfe == 8


@on_a_card
def test_a_field_that_waits_is_solved_without_a_graph_and_cuda_goes_on() -> None:
    class Waits(Velocity):
        def forward(self, x_BLC: Tensor, t_B: Tensor, labels_B: Tensor | None) -> Tensor:
            return super().forward(x_BLC, t_B, labels_B) * (1.0 if x_BLC.sum().item() else 0.0)

    model, stream = Waits().cuda(), torch.cuda.current_stream()
    solves = CapturedSolves()
    for one in noises(3, device="cuda"):
        torch.testing.assert_close(solves(model, (), work_of(model), *one).x, work_of(model)(*one).x)
    assert "synchroniz" in solves.why_not(model)
    assert torch.cuda.current_stream() == stream and torch.cuda.get_sync_debug_mode() == 0
    torch.cuda.empty_cache()
    assert torch.randn(4, device="cuda").isfinite().all()
