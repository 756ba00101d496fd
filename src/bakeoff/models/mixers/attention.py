"""Multi-head self-attention [Vaswani et al. 2017].

Shapes: B batch, L tokens, D = d_model, H heads, P channels a head.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from bakeoff.models.mixers.base import FLOAT_BYTES, Mixer


class Attention(Mixer):
    """Multi-head self-attention by torch's scaled_dot_product_attention, over all tokens or only the earlier ones."""

    reads = "both ways"

    def __init__(self, d_model: int, width: int, *, heads: int = 4, causal: bool = False) -> None:
        super().__init__()
        self.d_model, self.width, self.heads, self.causal = d_model, width, heads, causal
        self.qkv = nn.Linear(d_model, 3 * width)
        self.out_proj = nn.Linear(width, d_model)

    def forward(self, x_BLD: Tensor) -> Tensor:
        q, k, v = self.qkv(x_BLD).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y_BHLP = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out_proj(y_BHLP.transpose(1, 2).flatten(2))

    def flops(self, L: int) -> int:
        return L * (2 * self.d_model * 3 * self.width + 2 * self.width * self.d_model) + 4 * L * L * self.width

    def state_bytes(self, L: int) -> int:
        return 2 * L * self.width * FLOAT_BYTES  # keys and values
