"""What the compiled kernels refuse to differentiate, and the private names of torch that decide it."""

from collections.abc import Callable

import pytest
import torch
from oracle import conv_inputs, scan_inputs, ssd_inputs
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode

from bakeoff.ops import autograd, causal_conv, selective_scan, ssd

B, L, D, N, K = 2, 6, 5, 3, 4


@pytest.fixture(params=["scan", "conv", "ssd"])
def call(request: pytest.FixtureRequest) -> Callable[[torch.Tensor], torch.Tensor]:
    if request.param == "scan":
        rest = list(scan_inputs(B, L, D, N).values())[1:5]
        return lambda u: selective_scan(u, *rest)
    if request.param == "ssd":
        q, k, _, *weights, _ = ssd_inputs(B, L, 1, D, 1, N, 1).values()
        return lambda v: ssd(q, k, v[..., None, None], *weights)  # type: ignore[arg-type]
    weight = conv_inputs(B, L, D, K)["weight_DK"]
    return lambda x: causal_conv(x, weight)


def test_second_derivatives_are_refused(compiled: str, call: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x = torch.randn(B, L, D, requires_grad=True)
    (first,) = torch.autograd.grad(call(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"no second derivatives.*BAKEOFF_BACKEND=reference"):
        first.sum().backward()


def test_forward_mode_is_refused(compiled: str, call: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x = torch.randn(B, L, D)
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match="no forward-mode"):
        call(forward_ad.make_dual(x, torch.ones_like(x)))


def test_forward_mode_is_refused_under_a_dispatch_mode(
    compiled: str, call: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """A registered operator alone would lose the tangent without a word."""
    x = torch.randn(B, L, D)
    with forward_ad.dual_level(), FlopCounterMode(display=False):
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(RuntimeError, match="no forward-mode"):
            call(dual)


def test_the_reference_has_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_BACKEND", "reference")
    inputs = [x.double().requires_grad_() for x in scan_inputs(1, 3, 2, 2).values()]
    assert torch.autograd.gradcheck(lambda *a: selective_scan(*a[:8]), inputs[:8], check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda *a: selective_scan(*a[:8]), inputs[:8])


def test_torch_has_the_private_names_that_the_fast_path_asks() -> None:
    """A torch that drops or changes one makes every call slow: find the new name for `bakeoff.ops.autograd`."""
    modes = torch._C._len_torch_dispatch_stack
    assert modes() == 0
    with FlopCounterMode(display=False):
        assert modes() > 0
    assert forward_ad._current_level < 0
    with forward_ad.dual_level():
        assert forward_ad._current_level >= 0
    assert not autograd.traced()
    assert not autograd.differentiated((torch.zeros(1), None))


@pytest.fixture(params=[(torch._C, "_len_torch_dispatch_stack"), (forward_ad, "_current_level")], ids=lambda x: x[1])
def without(request: pytest.FixtureRequest) -> Callable[[pytest.MonkeyPatch], None]:
    """Takes one of the private names away."""
    return lambda monkeypatch: monkeypatch.delattr(*request.param)


def test_without_a_private_name_results_are_the_same(
    compiled: str, call: Callable[[torch.Tensor], torch.Tensor], without: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def results() -> list[torch.Tensor]:
        x = torch.linspace(-1, 1, B * L * D).reshape(B, L, D)
        y = call(leaf := x.clone().requires_grad_())
        y.square().sum().backward()
        return [call(x), y.detach(), leaf.grad]

    expected = results()
    without(monkeypatch)
    assert autograd.traced() or autograd.differentiated((torch.zeros(1),))
    for got, wanted in zip(results(), expected, strict=True):
        assert torch.equal(got, wanted)


def test_without_a_private_name_the_same_is_refused(
    compiled: str, call: Callable[[torch.Tensor], torch.Tensor], without: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(B, L, D)
    with forward_ad.dual_level(), monkeypatch.context() as patch:
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        without(patch)
        with pytest.raises(RuntimeError, match="no forward-mode"):
            call(dual)
    without(monkeypatch)
    (first,) = torch.autograd.grad(call(x.requires_grad_()).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        first.sum().backward()
