"""The state space dual form registered with torch.library: fakes, autograd, FLOP counts, torch.compile."""

import pytest
import torch
from oracle import assert_close, exact_ssd, gradients, leaves, ssd_inputs
from torch.library import opcheck
from torch.utils.flop_counter import FlopCounterMode

from bakeoff.ops import ssd
from bakeoff.ops.ssd import library

B, L, G, H, R, N, P = SIZES = 2, 16, 2, 4, 2, 5, 3
OPTIONS = [(True, False, True), (False, True, False)]


@pytest.mark.parametrize(("initial", "reverse", "final"), OPTIONS)
def test_opcheck(compiled: str, initial: bool, reverse: bool, final: bool) -> None:
    opcheck(library.ssd, (*leaves(ssd_inputs(*SIZES, initial=initial)).values(), reverse, final))


@pytest.mark.parametrize(("initial", "reverse", "final"), OPTIONS)
def test_opcheck_backward(compiled: str, initial: bool, reverse: bool, final: bool) -> None:
    x = list(ssd_inputs(*SIZES, initial=initial).values())
    y, end, states = library.ssd(*x, reverse, final)
    opcheck(library.ssd_backward, (*x, reverse, states, torch.ones_like(y), end))


def test_the_operator_agrees_with_float64(compiled: str) -> None:
    inputs = ssd_inputs(*SIZES)
    x = leaves(inputs)
    assert_close(gradients(library.dual(*x.values(), True, True), x), exact_ssd(inputs, reverse=True), 5e-6)  # type: ignore[arg-type]


def test_flops_are_counted(compiled: str) -> None:
    x = leaves(ssd_inputs(*SIZES))
    forward = (1 + 4 * R) * B * L * H * P * N
    with FlopCounterMode(display=False) as counter:
        y = ssd(**x)  # type: ignore[arg-type]
        assert counter.get_total_flops() == forward
        y.sum().backward()
    assert counter.get_total_flops() == 3 * forward


def test_compiled_gradients_are_the_eager_ones(compiled: str) -> None:
    inputs = ssd_inputs(*SIZES)
    traced = torch.compile(ssd, backend="aot_eager", fullgraph=True)
    x, eager = leaves(inputs), leaves(inputs)
    got = gradients(traced(**x, return_final_state=True, reverse=True), x)
    expected = gradients(ssd(**eager, return_final_state=True, reverse=True), eager)  # type: ignore[arg-type]
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value)
