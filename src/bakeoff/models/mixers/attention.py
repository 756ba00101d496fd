"""Multi-head self-attention [Vaswani et al. 2017].

Shapes: B batch, L tokens, D = d_model, H heads, P channels a head, T tokens kept.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bakeoff.errors import BakeoffError
from bakeoff.models.mixers.base import FLOAT_BYTES, Mixer

ROPE_BASE = 10_000.0


class Cache:
    """The keys and values that were read, in buffers that double when they are full."""

    def __init__(self, B: int, heads: int, channels: int, like: Tensor) -> None:
        self.length = 0
        self._kept = like.new_empty(2, B, heads, 0, channels)

    def add(self, kv_2BHLP: Tensor) -> Tensor:
        """Keys and values of all tokens so far, (2, B, H, T, P), with the new ones behind the others."""
        end = self.length + kv_2BHLP.shape[3]
        if end > self._kept.shape[3]:
            room = kv_2BHLP.new_empty(*kv_2BHLP.shape[:3], max(end, 2 * self._kept.shape[3]), kv_2BHLP.shape[4])
            room[..., : self.length, :] = self._kept[..., : self.length, :]
            self._kept = room
        self._kept[..., self.length : end, :] = kv_2BHLP
        self.length = end
        return self._kept[..., :end, :]


class Attention(Mixer):
    """Multi-head self-attention by torch's scaled_dot_product_attention, over all tokens or only the earlier ones.

    Args:
        heads: number of heads; must divide the width.
        causal: whether a token reads only itself and the tokens before it.
        rope: whether queries and keys are rotated by their position [Su et al. 2021].
    """

    reads = "both ways"
    takes_rope = True

    def __init__(self, d_model: int, width: int, *, heads: int = 4, causal: bool = False, rope: bool = False) -> None:
        super().__init__()
        self.d_model, self.width, self.heads, self.causal, self.rope = d_model, width, heads, causal, rope
        if rope and width // heads % 2:
            raise BakeoffError(f"attention: rope needs heads of an even width; {width} / {heads} = {width // heads}.")
        self.qkv = nn.Linear(d_model, 3 * width)
        self.out_proj = nn.Linear(width, d_model)

    def forward(self, x_BLD: Tensor) -> Tensor:
        q, k, v = self._qkv(x_BLD, 0)
        y_BHLP = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out_proj(y_BHLP.transpose(1, 2).flatten(2))

    def _qkv(self, x_BLD: Tensor, first: int) -> Tensor:
        """(3, B, H, L, P), of tokens whose positions begin at `first`."""
        qkv = self.qkv(x_BLD).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if not self.rope:
            return qkv
        return torch.cat([rotated(qkv[:2], torch.arange(first, first + x_BLD.shape[1], device=x_BLD.device)), qkv[2:]])

    def start(self, B: int) -> Cache:
        if not self.causal:
            raise BakeoffError("attention: only a causal one can go on token by token.")
        return Cache(B, self.heads, self.width // self.heads, self.qkv.weight)

    def prefill(self, x_BLD: Tensor, state: Cache) -> tuple[Tensor, Cache]:
        first, L = state.length, x_BLD.shape[1]
        q, k, v = self._qkv(x_BLD, first)
        k, v = state.add(torch.stack([k, v]))
        if L == 1 or first == 0:
            y_BHLP = F.scaled_dot_product_attention(q, k, v, is_causal=L > 1)
        else:
            earlier_LT = torch.ones(L, first + L, dtype=torch.bool, device=q.device).tril(first)
            y_BHLP = F.scaled_dot_product_attention(q, k, v, attn_mask=earlier_LT)
        return self.out_proj(y_BHLP.transpose(1, 2).flatten(2)), state

    def flops(self, L: int) -> int:
        return L * (2 * self.d_model * 3 * self.width + 2 * self.width * self.d_model) + 4 * L * L * self.width

    def state_bytes(self, L: int) -> int:
        return 2 * L * self.width * FLOAT_BYTES  # keys and values


def rotated(x: Tensor, positions_L: Tensor) -> Tensor:
    """Each pair of channels (i, i + P/2) of (..., L, P), turned by the angle position / 10 000^(2i / P)."""
    half = x.shape[-1] // 2
    rates = ROPE_BASE ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angles_LP = positions_L[:, None].float() * rates
    cos, sin = angles_LP.cos().to(x.dtype), angles_LP.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
