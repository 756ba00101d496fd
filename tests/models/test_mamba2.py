"""Mamba-2: the block token by token in float64, published counts, initial values, groups and odd heads."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bakeoff.errors import BakeoffError
from bakeoff.models.mixers import Mamba2
from bakeoff.protocol.presets import load_protocol


def block(mixer: Mamba2, x_BLD: Tensor) -> Tensor:
    """The forward block as the paper's recurrence: h_t = exp(dt A) h_{t-1} + dt x_t B_t^T, y_t = h_t C_t + D x_t."""
    E, N, H, G, K = mixer.width, mixer.d_state, mixer.heads, mixer.groups, mixer.d_conv
    weights = {name: one.detach().double() for name, one in mixer.named_parameters()}
    z, xBC, dt = (x_BLD.double() @ weights["in_proj.weight"].T).split([E, E + 2 * G * N, H], -1)
    padded = F.pad(xBC, (0, 0, K - 1, 0))
    taps = weights["conv1d.weight"][:, 0]
    convolved = sum(padded[:, k : k + xBC.shape[1]] * taps[:, k] for k in range(K)) + weights["conv1d.bias"]
    x, B, C = F.silu(convolved).split([E, G * N, G * N], -1)
    dt, A = F.softplus(dt + weights["dt_bias"]), -weights["A_log"].exp()
    h, ys = x.new_zeros(len(x), H, E // H, N), []
    for t in range(x.shape[1]):
        of_heads = [one[:, t].unflatten(-1, (G, N)).repeat_interleave(H // G, 1) for one in (B, C)]
        x_BHP, dt_BH11 = x[:, t].unflatten(-1, (H, -1)), dt[:, t, :, None, None]
        h = torch.exp(dt_BH11 * A[:, None, None]) * h + dt_BH11 * x_BHP[..., None] * of_heads[0][:, :, None]
        ys.append((h @ of_heads[1][..., None])[..., 0] + weights["D"][:, None] * x_BHP)
    y = (torch.stack(ys, 1).flatten(2) * F.silu(z)).unflatten(-1, (G, -1))
    y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return (y.flatten(2) * weights["norm.weight"]) @ weights["out_proj.weight"].T


@pytest.mark.parametrize("L", [1, 2, 63, 64, 65, 100])
@pytest.mark.parametrize(("heads", "groups", "width"), [(4, 1, 40), (4, 2, 64), (1, 1, 24), (8, 8, 24)])
def test_it_is_the_papers_recurrence(L: int, heads: int, groups: int, width: int) -> None:
    torch.manual_seed(L)
    mixer = Mamba2(16, width, d_state=12, heads=heads, groups=groups)
    torch.nn.init.uniform_(mixer.norm.weight, 0.5, 1.5)
    torch.nn.init.normal_(mixer.D)
    x_BLD = torch.randn(2, L, 16)
    torch.testing.assert_close(mixer(x_BLD).double(), block(mixer, x_BLD), rtol=1e-5, atol=1e-5)


def test_both_directions_are_summed_before_the_gate() -> None:
    torch.manual_seed(0)
    both = Mamba2(16, 40, d_state=8, direction="both")
    ungated = {}
    x_BLD = torch.randn(2, 30, 16)
    for direction in ("forward", "reverse"):
        one = Mamba2(16, 40, d_state=8, direction=direction)
        one.load_state_dict(both.state_dict())
        one.norm.register_forward_pre_hook(lambda _, given, name=direction: ungated.update({name: given}))
        one(x_BLD)
    (forward, z, D, x), (reverse, _, _, reverse_x) = ungated["forward"], ungated["reverse"]
    torch.testing.assert_close(both(x_BLD), both.out_proj(both.norm(forward + reverse, z, D, x + reverse_x)))


def test_published_parameter_counts() -> None:
    """mamba2-130m: 24 blocks at d_model 768, with their norms, the last norm and 50,288 tied embeddings."""
    with torch.device("meta"):
        of_block = sum(one.numel() for one in Mamba2(768, 1536, d_state=128, heads=24).parameters())
        large = sum(one.numel() for one in Mamba2(2560, 5120, d_state=128, heads=80).parameters())
    assert 24 * (of_block + 768) + 768 + 50_288 * 768 == 128_989_632
    assert 64 * (large + 2560) + 2560 + 50_288 * 2560 == 2_702_599_680


def test_it_starts_where_the_paper_says() -> None:
    torch.manual_seed(0)
    mixer = Mamba2(16, 4096, d_state=8, heads=4096)
    dt, A = F.softplus(mixer.dt_bias), mixer.A_log.exp()
    assert dt.min() >= 0.99e-3 and dt.max() <= 1.01e-1
    assert dt.log().mean().item() == pytest.approx(-4.605, abs=0.06)
    assert A.min() >= 1 and A.max() <= 16 and A.mean().item() == pytest.approx(8.5, abs=0.2)
    assert torch.equal(mixer.D, torch.ones(4096)) and torch.equal(mixer.norm.weight, torch.ones(4096))
    assert mixer.conv1d.weight.abs().max() <= 0.5


def test_what_does_not_divide_is_refused() -> None:
    with pytest.raises(BakeoffError, match="heads must divide the width"):
        Mamba2(16, 42)
    with pytest.raises(BakeoffError, match="groups the heads"):
        Mamba2(16, 40, heads=2, groups=4)
    with pytest.raises(BakeoffError, match="groups = 8 does not divide heads = 4"):
        load_protocol("smoke", ['backbones.0.mixers=["mamba2"]', "mixers.mamba2.groups=8"])
