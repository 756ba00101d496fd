"""Mamba-3 against its definitions in float64: token by token, as a complex state, and reduced to simpler ones."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bakeoff.errors import BakeoffError
from bakeoff.models.mixers import Mamba3
from bakeoff.models.mixers.mamba3 import decay_rate, running_angle
from bakeoff.ops import ssd
from bakeoff.ops.fused.turn import rotated_pairs

VARIANTS: list[dict[str, Any]] = [
    {},
    {"rank": 4},
    {"groups": 2},
    {"rank": 3, "groups": 4, "rope_fraction": 1.0},
    {"bias": False},
    {"trapezoid": False},
    {"rotation": False},
    {"decay": "heavy_tail", "rank": 2},
    {"out_norm": True, "rank": 2},
    {"out_norm": True},
]


def build(**options: Any) -> Mamba3:
    """With weights that are far from their even start."""
    torch.manual_seed(3)
    mixer = Mamba3(16, 20, d_state=8, **options)  # heads of 5 channels
    with torch.no_grad():
        for name, one in mixer.named_parameters():
            if "proj" not in name and name != "dt_bias":
                one.add_(0.5 * torch.randn_like(one))
    return mixer


def block(mixer: Mamba3, x_BLD: Tensor) -> Tensor:
    """The forward block as the paper's recurrence, with k and q rotated by the running angle."""
    E, N, H, G, R = mixer.width, mixer.d_state, mixer.heads, mixer.groups, mixer.rank
    p = {name: one.detach().double() for name, one in mixer.named_parameters()}
    z, x, B, C, dt, a, trap, angle = (x_BLD.double() @ p["in_proj.weight"].T).split(mixer.parts, -1)

    def by_head(x: Tensor, norm: str, bias: str) -> Tensor:  # the inner order is rank, group, state
        x = x.unflatten(-1, (R, G, N))
        x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * p[norm]
        return x.repeat_interleave(H // G, -2).transpose(-2, -3) + p.get(bias, torch.zeros(1).double())

    k, q = by_head(B, "B_norm.weight", "B_bias"), by_head(C, "C_norm.weight", "C_bias")
    dt = F.softplus(dt + p["dt_bias"])
    rate = F.softplus(a) if mixer.decay == "softplus" else torch.where(a >= 0, 1 + a, 1 / (1 - a))
    alpha = torch.exp(dt * (-rate).clamp(max=-1e-4))
    lam = torch.sigmoid(trap) if mixer.trapezoid else torch.ones_like(dt)
    phi = (dt.unsqueeze(-1) * (math.pi * torch.tanh(angle)).unsqueeze(-2)).cumsum(1)
    k, q = (turned(one, phi.unsqueeze(-2)) for one in (k, q))
    x = x.unflatten(-1, (H, 1, -1))
    v = x * p.get("mimo_x", torch.ones(1).double())
    h, k0, v0, ys = v.new_zeros(len(x), H, E // H, N), torch.zeros_like(k[:, 0]), torch.zeros_like(v[:, 0]), []
    for t in range(x.shape[1]):
        al, la, d = (one[:, t, :, None, None] for one in (alpha, lam, dt))
        h = al * h + (1 - la) * d * al * v0.transpose(-1, -2) @ k0 + la * d * v[:, t].transpose(-1, -2) @ k[:, t]
        ys.append(q[:, t] @ h.transpose(-1, -2) + p["D"][:, None, None] * v[:, t])
        k0, v0 = k[:, t], v[:, t]
    y, z = torch.stack(ys, 1), z.unflatten(-1, (H, 1, -1)) * p.get("mimo_z", torch.ones(1).double())
    if "norm.weight" in p:
        y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * p["norm.weight"].unflatten(0, (H, 1, -1))
    out = (y * F.silu(z) * p.get("mimo_o", torch.ones(1).double())).sum(-2)
    return out.flatten(-2) @ p["out_proj.weight"].T


def turned(x: Tensor, phi: Tensor) -> Tensor:
    """Pairs (2i, 2i + 1) as complex numbers, times exp(i phi)."""
    S = phi.shape[-1]
    pairs = torch.view_as_complex(x[..., : 2 * S].unflatten(-1, (S, 2)).contiguous())
    return torch.cat([torch.view_as_real(pairs * torch.exp(1j * phi)).flatten(-2), x[..., 2 * S :]], -1)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("L", [1, 2, 70])
def test_it_is_the_papers_recurrence(options: dict[str, Any], L: int) -> None:
    mixer = build(**options)
    x_BLD = torch.randn(2, L, 16)
    torch.testing.assert_close(mixer(x_BLD).double(), block(mixer, x_BLD), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_prefill_and_step_go_on_as_forward_reads(options: dict[str, Any]) -> None:
    mixer = build(**options)
    x_BLD = torch.randn(2, 67, 16)
    expected = mixer(x_BLD)
    state, ys = mixer.start(2), []
    for first, last in ((0, 1), (1, 64), (64, 65)):
        y, state = mixer.prefill(x_BLD[:, first:last], state)
        ys.append(y)
    for t in (65, 66):
        y, state = mixer.step(x_BLD[:, t], state)
        ys.append(y.unsqueeze(1))
    torch.testing.assert_close(torch.cat(ys, 1), expected, rtol=1e-4, atol=1e-5)
    assert sum(one.numel() * 4 for one in state) == 2 * mixer.state_bytes(67)


def test_the_rotation_is_a_complex_state() -> None:
    """h_t = exp(a_t - i dt theta) (h_{t-1} + (1 - lam) dt v_{t-1} k_{t-1}) + lam dt v_t k_t, y = Re sum conj(q) h."""
    g = torch.Generator().manual_seed(1)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    B, L, H, P, S = 2, 40, 2, 3, 4
    k, q, x = (uniform(B, L, H, 2 * S) - 0.5, uniform(B, L, H, 2 * S) - 0.5, uniform(B, L, H, P) - 0.5)
    dt, lam, a, turn = uniform(B, L, H), uniform(B, L, H), -uniform(B, L, H), 6 * uniform(B, L, H, S) - 3
    angle = running_angle(turn, None)
    own, earlier = lam * dt, (1 - lam) * dt
    w = own + F.pad(earlier[:, 1:], (0, 0, 0, 1))
    given = [rotated_pairs(one, angle).unsqueeze(-2) for one in (q, k)]
    y = ssd(*given, x.unsqueeze(-2), a, w, own).squeeze(-2)
    kc, qc = (torch.view_as_complex(one.unflatten(-1, (S, 2)).contiguous()) for one in (k, q))
    h = torch.zeros(B, H, P, S, dtype=torch.complex128)
    for t in range(L):
        spin = torch.exp(a[:, t, :, None] - 1j * turn[:, t])[:, :, None]
        if t:
            h = h + earlier[:, t, :, None, None] * x[:, t - 1, :, :, None] * kc[:, t - 1, :, None]
        h = spin * h + own[:, t, :, None, None] * x[:, t, :, :, None] * kc[:, t, :, None]
        expected = (h * qc[:, t, :, None].conj()).sum(-1).real
        torch.testing.assert_close(y[:, t], expected, rtol=1e-10, atol=1e-10)


def test_one_rank_with_even_scales_is_the_siso_block() -> None:
    """Tied ranks with m_x = m_o = 1 / R and m_z = 1 give the SISO block, but for D, which they give 1 / R of."""
    siso, mimo = build(), build(rank=2)
    with torch.no_grad():
        z, x, B, C, *rest = siso.in_proj.weight.split(siso.parts)
        mimo.in_proj.weight.copy_(torch.cat([z, x, B, B, C, C, *rest]))
        for name in ("B_bias", "C_bias"):
            getattr(mimo, name).copy_(getattr(siso, name).expand(-1, 2, -1))
        for name, one in siso.named_parameters():
            if name in ("dt_bias", "B_norm.weight", "C_norm.weight", "out_proj.weight"):
                dict(mimo.named_parameters())[name].copy_(one)
        mimo.D.copy_(2 * siso.D)
        mimo.mimo_x.fill_(0.5)
        mimo.mimo_z.fill_(1.0)
        mimo.mimo_o.fill_(0.5)
    x_BLD = torch.randn(2, 30, 16)
    torch.testing.assert_close(mimo(x_BLD), siso(x_BLD), rtol=1e-4, atol=1e-5)


def test_a_pair_of_states_counts_parity() -> None:
    """A half turn for every 1, no decay, and something to remember at the first token: the sign is the parity."""
    bits = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1] * 30)
    L = len(bits)
    angle = running_angle((math.pi * bits).double().reshape(1, L, 1, 1), None)
    one = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(1, L, 1, 1, 2)
    turned_one = rotated_pairs(one, angle.unsqueeze(-2))
    v = torch.zeros(1, L, 1, 1, 1, dtype=torch.float64)
    v[:, 0] = 1.0
    ones = torch.ones(1, L, 1, dtype=torch.float64)
    y = ssd(turned_one, turned_one, v, 0 * ones, ones, ones).flatten()
    after_the_first = (bits.cumsum(0) - bits[0]) % 2
    torch.testing.assert_close(y, (1.0 - 2.0 * after_the_first).double(), rtol=1e-9, atol=1e-9)


def test_an_angle_is_exact_after_many_turns() -> None:
    turn = torch.full((1, 4096, 1, 1), 3.0)
    expected = math.remainder(4096 * 3.0, 2 * math.pi) % (2 * math.pi)
    assert running_angle(turn, None)[0, -1].item() == pytest.approx(expected, abs=1e-5)
    whole = running_angle(turn, None)[:, -1]
    parts = running_angle(turn[:, 2000:], running_angle(turn[:, :2000], None)[:, -1])[:, -1]
    assert parts.item() == pytest.approx(whole.item(), abs=1e-5)


def test_decay_rates() -> None:
    a = torch.tensor([-200.0, -6.0, 0.0, 3.0], dtype=torch.float64)
    assert decay_rate(a, "softplus").tolist() == pytest.approx(
        [-1e-4, -math.log1p(math.exp(-6)), -math.log(2), -3.048587]
    )
    assert decay_rate(a, "heavy_tail").tolist() == pytest.approx([-1 / 201, -1 / 7, -1, -4])
    leaf = torch.tensor([0.5, 2.0], requires_grad=True)
    decay_rate(leaf, "heavy_tail").sum().backward()
    assert leaf.grad is not None and leaf.grad.tolist() == [-1, -1]


def test_published_parameter_counts() -> None:
    """mamba3-siso-187m: 12 blocks and 12 SwiGLU of 1,536 at d_model 768, their norms, and tied Llama embeddings."""
    with torch.device("meta"):
        siso = sum(one.numel() for one in Mamba3(768, 1536, d_state=128, heads=24).parameters())
        mimo = sum(one.numel() for one in Mamba3(768, 1536, d_state=128, heads=24, rank=4).parameters())
        sizes = [
            [sum(one.numel() for one in Mamba3(D, 2 * D, heads=D // 16, rank=rank).parameters()) for rank in (1, 4)]
            for D in (64, 128, 256)
        ]
    whole = 12 * (siso + 3 * 768 * 1536) + 25 * 768 + 128_256 * 768
    assert round(whole / 1e6, 1) == 186.8
    # at this size the ranks cost what the paper takes from the MLP: 272 of its width, less biases and scales
    assert mimo - siso == 768 * 2 * 3 * 128 + 2 * 24 * 3 * 128 + 3 * 24 * 4 * 64
    assert sizes == [[35_208, 62_856], [120_976, 176_272], [444_576, 555_168]]


def test_it_starts_where_the_reference_does() -> None:
    torch.manual_seed(0)
    mixer = Mamba3(16, 512, d_state=8, heads=512, rank=4)
    dt = F.softplus(mixer.dt_bias)
    assert dt.min() >= 0.99e-3 and dt.max() <= 1.01e-1
    for one, value in ((mixer.B_bias, 1), (mixer.C_bias, 1), (mixer.D, 1), (mixer.mimo_x, 0.25), (mixer.mimo_z, 1)):
        assert one is not None and (one == value).all()
    assert (mixer.mimo_o == 0.25).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BakeoffError, match="heads must divide the width"):
        Mamba3(16, 42)
    with pytest.raises(BakeoffError, match="d_state = 2; allowed: 4 or more"):
        Mamba3(16, 40, d_state=2)
    with pytest.raises(BakeoffError, match="only one that reads forward"):
        Mamba3(16, 40, direction="both").start(1)
