"""Captured calls: which call is replayed, that it is the same call, and what happens where none can be captured.

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

from bakeoff.objectives._cuda_graph import MOST, Captured, Replay, Uncapturable


class Again:
    """Captures by remembering the call; a replay does it again and writes what was returned first anew."""

    def __init__(self) -> None:
        self.captures = self.replays = 0

    def __call__(self, call: Callable[[], Tensor], device: torch.device) -> tuple[Tensor, Replay]:
        self.captures += 1
        kept = call()

        def replay() -> None:
            self.replays += 1
            kept.copy_(call())

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

    def forward(self, x_BLC: Tensor, t_B: Tensor, labels_B: Tensor | None = None) -> Tensor:
        v_BLC = torch.tanh(x_BLC @ self.weight) + t_B[:, None, None]
        return v_BLC if labels_B is None else v_BLC + self.label[labels_B][:, None]


@pytest.fixture(autouse=True)
def _whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Captured, "broken", "")


def inputs(count: int, B: int = 5, device: str = "cpu") -> list[tuple[Tensor, Tensor, Tensor]]:
    g = torch.Generator().manual_seed(1)
    drawn = [
        (torch.randn(B, 2, 3, generator=g), torch.rand(B, generator=g), torch.randint(10, (B,), generator=g))
        for _ in range(count)
    ]
    return [(x.to(device), t.to(device), labels.to(device)) for x, t, labels in drawn]


def test_the_second_call_is_captured_and_all_are_the_same_as_without() -> None:
    capture, model = Again(), Velocity()
    captured, given = Captured(model, capture, anywhere), inputs(4)
    found = [captured(*one) for one in given]
    assert (capture.captures, capture.replays) == (1, 3)
    for ours, exact in zip(found, [model(*one) for one in given], strict=True):  # none was overwritten by a later one
        assert torch.equal(ours, exact)


def test_what_came_once_is_not_captured() -> None:
    capture, model = Again(), Velocity()
    captured = Captured(model, capture, anywhere)
    (x, t, labels), (other, s, _) = inputs(1)[0], inputs(1, B=2)[0]
    for one in ((x, t, labels), (other, s, labels[:2]), (x, t, None)):
        assert torch.equal(captured(*one), model(*one))
    model.train(False)
    captured(x, t, labels)
    assert capture.captures == 0


def test_weights_may_change_in_place_and_are_followed_when_they_move() -> None:
    capture, model = Again(), Velocity()
    captured = Captured(model, capture, anywhere)
    (one,) = inputs(1)
    before = [captured(*one) for _ in range(2)][-1]
    with torch.no_grad():
        model.weight.mul_(-1)
    changed = captured(*one)
    assert capture.replays == 2 and torch.equal(changed, model(*one)) and not torch.equal(changed, before)
    model.weight = nn.Parameter(model.weight.detach() * 3)
    assert torch.equal(captured(*one), model(*one))
    assert (capture.captures, capture.replays) == (1, 2)  # the first call with weights elsewhere


@pytest.mark.parametrize("error,spread", [(Uncapturable("it waits"), False), (RuntimeError("it broke"), True)])
def test_a_model_that_cannot_be_captured_is_called_without(
    error: RuntimeError, spread: bool, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    def refuse(call: Callable[[], Tensor], device: torch.device) -> tuple[Tensor, Replay]:
        tried.append(call)
        raise error

    first, second = (Captured(Velocity(), refuse, anywhere) for _ in range(2))
    with caplog.at_level(logging.WARNING):
        for one in inputs(4):
            assert torch.equal(first(*one), first.model(*one))
    assert len(tried) == len(caplog.records) == 1 and str(error) in caplog.text
    assert str(error) in first.why_not and bool(second.why_not) == spread
    for one in inputs(2):
        second(*one)
    assert len(tried) == (1 if spread else 2)


def test_an_error_of_the_model_itself_is_not_hidden() -> None:
    class Broken(Velocity):
        def forward(self, x_BLC: Tensor, t_B: Tensor, labels_B: Tensor | None = None) -> Tensor:
            raise RuntimeError("sizes do not fit")

    captured = Captured(Broken(), Again(), anywhere)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="sizes do not fit"):
            captured(*inputs(1)[0])


def test_graphs_are_few_and_live_no_longer_than_what_holds_them() -> None:
    held: list[weakref.ref] = []

    def capture(call: Callable[[], Tensor], device: torch.device) -> tuple[Tensor, Replay]:
        kept = call()
        held.append(weakref.ref(kept))
        return kept, lambda: None

    captured = Captured(Velocity(), capture, anywhere)
    for B in range(1, MOST + 3):
        for one in inputs(2, B):
            captured(*one)
    gc.collect()
    assert sum(one() is not None for one in held) == MOST
    del captured
    gc.collect()
    assert not any(one() is not None for one in held)


def test_on_the_cpu_nothing_is_captured() -> None:
    capture = Again()
    captured = Captured(Velocity(), capture)
    for one in inputs(3):
        captured(*one)
    assert capture.captures == 0 and not captured.why_not


on_a_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@on_a_card
def test_a_cuda_graph_computes_as_without() -> None:
    model = Velocity().cuda()
    captured, given = Captured(model), inputs(4, device="cuda")
    found = [captured(*one) for one in given]
    assert not captured.why_not
    for ours, one in zip(found, given, strict=True):
        torch.testing.assert_close(ours, model(*one))


@on_a_card
def test_a_model_that_waits_is_called_without_a_graph_and_cuda_goes_on() -> None:
    class Waits(Velocity):
        def forward(self, x_BLC: Tensor, t_B: Tensor, labels_B: Tensor | None = None) -> Tensor:
            return super().forward(x_BLC, t_B, labels_B) * (1.0 if x_BLC.sum().item() else 0.0)

    captured, stream = Captured(Waits().cuda()), torch.cuda.current_stream()
    for one in inputs(3, device="cuda"):
        torch.testing.assert_close(captured(*one), captured.model(*one))
    assert "synchroniz" in captured.why_not
    assert torch.cuda.current_stream() == stream and torch.cuda.get_sync_debug_mode() == 0
    torch.cuda.empty_cache()
    assert torch.randn(4, device="cuda").isfinite().all()
