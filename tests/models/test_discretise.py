"""How Mamba's system becomes a recurrence: each rule token by token in float64, limits between them, and its words."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bakeoff.models.mixers import Mamba
from bakeoff.models.mixers.discretise import Rule, coefficients, scan

RULES: tuple[Rule, ...] = get_args(Rule)


def inputs(L: int, E: int = 5, N: int = 3, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    g = torch.Generator().manual_seed(L)
    shapes = [(2, L, E), (2, L, E), (E, N), (2, L, N), (2, L, N), (E,), (2, L, E), (E,)]
    u, s, A, B, C, D, z, bias = (torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes)
    return [one.to(dtype) for one in (u, s - 2, -A.exp(), B, C, D, z, bias)]


def by_hand(rule: Rule, u: Tensor, s: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, bias: Tensor):
    """The recurrence written out from its formulas, channel by channel."""
    y, h = torch.zeros_like(u), torch.zeros(len(u), *A.shape, dtype=u.dtype)
    for t in range(u.shape[1]):
        for e in range(u.shape[2]):
            raw = s[:, t, e] + bias[e]
            dt, g = torch.log1p(torch.exp(raw)), 1 / (1 + torch.exp(-raw))
            for n in range(A.shape[1]):
                decay = {"exponential": torch.exp(dt * A[e, n]), "euler": 1 + dt * A[e, n], "none": 1 - g}[rule]
                h[:, e, n] = decay * h[:, e, n] + (g if rule == "none" else dt) * B[:, t, n] * u[:, t, e]
            y[:, t, e] = (h[:, e] * C[:, t]).sum(1) + D[e] * u[:, t, e]
    return y * z / (1 + torch.exp(-z)), h


@pytest.mark.parametrize("rule", ["euler", "none"])
@pytest.mark.parametrize("L", [1, 2, 15, 16, 17, 49])
def test_each_rule_is_its_recurrence(rule: Rule, L: int) -> None:
    given = inputs(L)
    if rule == "none":
        given[2] = torch.full_like(given[2], -1.0)
    expected, state = by_hand(rule, *(one.double() for one in given))
    y, final = scan(rule, *given)
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(final.double(), state, rtol=1e-5, atol=1e-5)
    backward, _ = scan(rule, *(one.flip(1) if one.dim() == 3 else one for one in given), reverse=True)
    torch.testing.assert_close(backward.flip(1).double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_a_block_is_the_recurrence(rule: Rule) -> None:
    """The whole block, with its projections and its convolution, against the recurrence by hand."""
    torch.manual_seed(0)
    mixer = Mamba(16, 6, d_state=3, discretise=rule)
    torch.nn.init.normal_(mixer.D)
    x = torch.randn(2, 11, 16)
    with torch.no_grad():
        u, z = mixer.in_proj(x).chunk(2, -1)
        padded = F.pad(u, (0, 0, 3, 0))
        u = F.silu(sum(padded[:, k : k + 11] * mixer.conv_weight[:, k] for k in range(4)) + mixer.conv_bias)
        low, B, C = mixer.x_proj(u).split([1, 3, 3], -1)
        A = -torch.exp(mixer.A_log) if rule != "none" else torch.zeros(6, 3)
        y, _ = by_hand(rule, u, mixer.dt_proj(low), A, B, C, mixer.D, z, mixer.dt_bias)
        torch.testing.assert_close(mixer(x), mixer.out_proj(y), rtol=1e-4, atol=1e-5)


def test_for_small_steps_all_rules_agree() -> None:
    """exp(dt A) = 1 + dt A + O(dt^2), and 1 - g = exp(-dt) with g = dt + O(dt^2)."""
    s, A = torch.tensor([[-9.0]], dtype=torch.float64), -torch.ones(1, 1, dtype=torch.float64)
    dt = float(F.softplus(s))
    found = [coefficients(rule, s, A) for rule in RULES]
    for decay, weight in found:
        assert abs(float(decay) - (1 - dt)) < dt**2 and abs(float(weight) - dt) < dt**2


def test_the_gate_is_zero_order_hold_of_a_system_that_decays_by_one() -> None:
    """Theorem 1: A = -1, B = 1 by zero-order hold gives exp(-dt) and 1 - exp(-dt), which are 1 - g and g."""
    s = torch.linspace(-60, 60, 25, dtype=torch.float64)[:, None]
    decay, weight = coefficients("none", s, torch.tensor([[-1.0]]))
    dt = F.softplus(s, threshold=100)
    torch.testing.assert_close(decay, torch.exp(-dt), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(weight, -torch.expm1(-dt), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("s", [-200.0, 0.0, 200.0])
def test_extreme_steps_stay_finite(s: float) -> None:
    given = inputs(4)
    given[1], given[2] = torch.full_like(given[1], s).requires_grad_(), torch.full_like(given[2], -1.0)
    y, _ = scan("none", *given)
    y.sum().backward()
    assert y.isfinite().all() and given[1].grad is not None and given[1].grad.isfinite().all()


def test_a_gate_has_no_A() -> None:
    names = {rule: {name for name, _ in Mamba(16, 32, discretise=rule).named_parameters()} for rule in RULES}
    assert names["exponential"] == names["euler"] and names["exponential"] - names["none"] == {"A_log"}
