"""Mamba-1 and Mamba-2 against transformers' mixers: the same weights, the same outputs, whole and token by token."""

import pytest
import torch
from torch import Tensor, nn
from transformers import Mamba2Config, MambaConfig
from transformers.models.mamba.modeling_mamba import MambaMixer
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

from bakeoff.models.mixers import Mamba, Mamba2

LENGTHS = [1, 2, 15, 16, 17, 50]
D_MODEL, D_STATE = 24, 12


def trained_(mixer: nn.Module) -> None:
    """Moves every parameter away from where it starts, so that none is 0 or 1."""
    with torch.no_grad():
        for one in mixer.parameters():
            one.add_(0.1 * torch.randn_like(one))


def stepped(mixer: Mamba | Mamba2, x_BLD: Tensor) -> Tensor:
    state, ys = mixer.start(len(x_BLD)), []
    for x_BD in x_BLD.unbind(1):
        y_BD, state = mixer.step(x_BD, state)
        ys.append(y_BD)
    return torch.stack(ys, 1)


@pytest.mark.parametrize("L", LENGTHS)
def test_mamba(L: int) -> None:
    torch.manual_seed(L)
    peer = MambaMixer(MambaConfig(hidden_size=D_MODEL, state_size=D_STATE, num_hidden_layers=1), layer_idx=0)
    trained_(peer)
    ours = Mamba(D_MODEL, 2 * D_MODEL, d_state=D_STATE)
    ours.load_state_dict(Mamba.renamed(peer.state_dict()))
    compare(ours, peer, torch.randn(2, L, D_MODEL))


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize(("heads", "groups"), [(4, 1), (4, 2), (6, 6)])
def test_mamba2(L: int, heads: int, groups: int) -> None:
    torch.manual_seed(L)
    config = Mamba2Config(
        hidden_size=D_MODEL,
        num_heads=heads,
        head_dim=2 * D_MODEL // heads,
        state_size=D_STATE,
        n_groups=groups,
        chunk_size=16,
        num_hidden_layers=1,
    )
    peer = Mamba2Mixer(config, layer_idx=0)
    trained_(peer)
    ours = Mamba2(D_MODEL, 2 * D_MODEL, d_state=D_STATE, heads=heads, groups=groups)
    ours.load_state_dict(peer.state_dict())
    compare(ours, peer, torch.randn(2, L, D_MODEL))


@torch.no_grad()
def compare(ours: Mamba | Mamba2, peer: nn.Module, x_BLD: Tensor) -> None:
    theirs_BLD = peer(x_BLD)
    torch.testing.assert_close(ours(x_BLD), theirs_BLD, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(stepped(ours, x_BLD), theirs_BLD, rtol=1e-4, atol=1e-5)
