"""Mixers: published counts, stated costs against counted ones, causality, independence of batches."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bakeoff.models.mixers import Attention, Conv, Gru, Mamba, Mamba2, Mamba3, Mixer, Mlp
from bakeoff.registry import MIXERS

LENGTHS = (1, 3, 49)


def build() -> list[Mixer]:
    torch.manual_seed(0)
    return [
        Mamba(32, 40, d_state=8),
        Mamba(32, 40, d_state=8, direction="reverse"),
        Mamba(32, 40, d_state=8, direction="both"),
        Mamba(32, 40, d_state=8, selective=False),
        Mamba(32, 40, d_state=8, discretise="euler"),
        Mamba(32, 40, d_state=8, discretise="none"),
        Attention(32, 32, heads=4),
        Mlp(32, 72),
        Mamba2(32, 40, d_state=8),
        Mamba2(32, 40, d_state=8, groups=2, direction="reverse"),
        Mamba2(32, 40, d_state=8, direction="both"),
        Mamba3(32, 40, d_state=8),
        Mamba3(32, 40, d_state=8, rank=3, groups=2, direction="reverse"),
        Mamba3(32, 40, d_state=8, rank=2, direction="both"),
        *(Gru(32, 24, direction=one) for one in ("forward", "reverse", "both")),
        *(Conv(32, 40, d_conv=8, direction=one) for one in ("forward", "reverse", "both")),
    ]


def test_published_parameter_counts() -> None:
    """A Mamba-1 block at d_model 128, expand 2, d_state 64 has 153 344 parameters; an MLP of 512 has 131 712."""
    counts = [sum(p.numel() for p in mixer.parameters()) for mixer in (Mamba(128, 256, d_state=64), Mlp(128, 512))]
    assert counts == [153_344, 131_712]


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize("mixer", build(), ids=lambda mixer: type(mixer).__name__)
def test_keeps_the_shape_and_gives_every_parameter_a_gradient(mixer: Mixer, L: int) -> None:
    x_BLD = torch.randn(2, L, 32, requires_grad=True)
    y_BLD = mixer(x_BLD)
    assert y_BLD.shape == x_BLD.shape
    y_BLD.square().sum().backward()
    for name, tensor in [("input", x_BLD), *mixer.named_parameters()]:
        assert tensor.grad is not None and tensor.grad.isfinite().all(), name


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize("mixer", build(), ids=lambda mixer: type(mixer).__name__)
def test_stated_flops_are_the_counted_ones(mixer: Mixer, L: int) -> None:
    """Torch's counter sees the linear maps; the scan is 9 E N a token, whichever back end serves, a tap 2 E."""
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        mixer(torch.randn(1, L, 32))
    counts = counter.get_flop_counts()["Global"]
    counted = counter.get_total_flops()
    if isinstance(mixer, Mamba):
        linear = sum(n for op, n in counts.items() if not any(part in str(op) for part in ("conv", "bmm", "scan")))
        per_token = 9 * mixer.width * mixer.d_state + 2 * mixer.width * mixer.d_conv
        counted = linear + len(mixer.directions) * L * per_token
    if isinstance(mixer, Mamba2):
        linear = sum(n for op, n in counts.items() if not any(part in str(op) for part in ("conv", "bmm", "ssd")))
        channels = mixer.width + 2 * mixer.groups * mixer.d_state
        per_token = 5 * mixer.width * mixer.d_state + 2 * channels * mixer.d_conv
        counted = linear + L * (len(mixer.directions) * per_token + 5 * mixer.width)
    if isinstance(mixer, Gru):  # which torch counts as one operation without FLOPs
        W, linear = mixer.width, 2 * mixer.width * mixer.d_model
        counted = L * (linear + len(mixer.directions) * 6 * (mixer.d_model + W) * W)
    if isinstance(mixer, Conv):
        linear = sum(n for op, n in counts.items() if "conv" not in str(op))
        counted = linear + len(mixer.directions) * L * 2 * mixer.width * mixer.d_conv
    if isinstance(mixer, Mamba3):
        E, H, R, N = mixer.width, mixer.heads, mixer.rank, mixer.d_state
        per_token = (1 + 6 * R) * E * N + 8 * H * R * N + (6 * R * E if R > 1 else 0)
        linear = sum(n for op, n in counts.items() if not any(part in str(op) for part in ("conv", "bmm", "ssd")))
        counted = linear + L * len(mixer.directions) * per_token
    assert mixer.flops(L) == counted


def influence(mixer: Mixer, source: int) -> Tensor:
    """Which outputs change when one input token does."""
    x_BLD = torch.randn(1, 12, 32, generator=torch.Generator().manual_seed(3))
    changed = x_BLD.clone()
    changed[:, source] += 1.0
    return (mixer(changed) - mixer(x_BLD)).abs().amax((0, 2)) > 1e-7


def test_directions() -> None:
    forward, reverse, both, *_, attention, mlp = (made := build())[:8]
    newer = made[8:]
    at = torch.arange(12)
    for ahead, back, all_ in (newer[:3], newer[3:6], newer[6:9], newer[9:]):
        assert torch.equal(influence(ahead, 5), at >= 5) and torch.equal(influence(back, 5), at <= 5)
        assert influence(all_, 5).all() or isinstance(all_, Conv)
    assert torch.equal(influence(newer[-1], 5), (at - 5).abs() < 8)
    assert torch.equal(influence(forward, 5), at >= 5)
    assert torch.equal(influence(reverse, 5), at <= 5)
    assert influence(both, 5).all() and influence(attention, 5).all()
    assert torch.equal(influence(mlp, 5), at == 5)


@pytest.mark.parametrize("kind", [Mamba, Mamba2, Mamba3, Gru, Conv])
def test_reverse_is_the_flipped_mixer(kind: Any) -> None:
    torch.manual_seed(0)
    options = {} if kind in (Gru, Conv) else {"d_state": 8}
    forward, reverse = kind(32, 40, **options), kind(32, 40, **options, direction="reverse")
    reverse.load_state_dict(forward.state_dict())
    x_BLD = torch.randn(2, 9, 32)
    torch.testing.assert_close(reverse(x_BLD), forward(x_BLD.flip(1)).flip(1))


@pytest.mark.parametrize("mixer", build(), ids=lambda mixer: type(mixer).__name__)
def test_samples_of_a_batch_do_not_meet(mixer: Mixer) -> None:
    x_BLD = torch.randn(3, 7, 32)
    torch.testing.assert_close(mixer(x_BLD)[1:2], mixer(x_BLD[1:2]), atol=1e-6, rtol=1e-5)


def test_mamba_starts_where_the_paper_says() -> None:
    torch.manual_seed(0)
    mamba = Mamba(128, 4096, d_state=16)
    dt = torch.nn.functional.softplus(mamba.dt_bias)
    assert dt.min() >= 0.99e-3 and dt.max() <= 1.01e-1
    log = dt.log()
    assert log.mean().item() == pytest.approx(-4.605, abs=0.06)  # log-uniform: the middle is 1e-2
    assert log.std().item() == pytest.approx(4.605 / 12**0.5, rel=0.03)
    torch.testing.assert_close(mamba.A_log.exp(), torch.arange(1.0, 17.0).expand(4096, 16))
    assert torch.equal(mamba.D, torch.ones(4096))


def test_registry_names_its_widths() -> None:
    assert {name: (MIXERS.get(name).expand, MIXERS.get(name).width_name) for name in MIXERS.built_in} == {
        "mamba": (2, "d_inner"),
        "mamba2": (2, "d_inner"),
        "mamba3": (2, "d_inner"),
        "attention": (1, None),
        "mlp": (4, "mlp_width"),
        "gru": (1, "units"),
        "conv": (2, "d_inner"),
    }


def test_without_selection_mamba_is_a_convolution() -> None:
    """y = D u + K * u with K_t = sum_n C_n dt B_n exp(t dt A_n), gated, behind the short convolution, in float64."""
    torch.manual_seed(4)
    mixer, L = Mamba(16, 24, d_state=6, selective=False), 30
    x_BLD = torch.randn(2, L, 16)
    with torch.no_grad():
        x_BLE, z_BLE = mixer.in_proj(x_BLD).double().chunk(2, -1)
        padded = torch.nn.functional.pad(x_BLE.transpose(1, 2), (3, 0))
        weight = mixer.conv_weight.double().unsqueeze(1)
        u_BEL = torch.nn.functional.conv1d(padded, weight, mixer.conv_bias.double(), groups=24)
        u_BEL = torch.nn.functional.silu(u_BEL)
        dt_E1 = torch.nn.functional.softplus(mixer.dt_bias.double()).unsqueeze(1)
        A_EN, t_L = -mixer.A_log.double().exp(), torch.arange(L).double()
        decay_ELN = torch.exp(t_L[None, :, None] * (dt_E1 * A_EN).unsqueeze(1))
        kernel_EL = (decay_ELN * (mixer.C * mixer.B).double()).sum(-1) * dt_E1
        later = torch.nn.functional.pad(u_BEL, (L - 1, 0))
        y_BEL = torch.nn.functional.conv1d(later, kernel_EL.flip(1).unsqueeze(1), groups=24)
        y_BLE = (y_BEL + mixer.D.double().unsqueeze(1) * u_BEL).transpose(1, 2)
        y_BLE = y_BLE * torch.nn.functional.silu(z_BLE)
        torch.testing.assert_close(mixer(x_BLD), mixer.out_proj(y_BLE.float()), rtol=2e-5, atol=2e-5)
