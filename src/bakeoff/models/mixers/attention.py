"""Multi-head self-attention [Vaswani et al. 2017].

Shapes: B batch, L tokens, D = d_model, H heads, P channels a head, T tokens kept.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bakeoff.errors import BakeoffError
from bakeoff.models.mixers.base import FLOAT_BYTES, Mixer
from bakeoff.models.mixers.rope import places, turns, turns_of
from bakeoff.ops import step as native
from bakeoff.ops.fused import normed_heads

EPS = 1e-6


class Cache:
    """The keys and values that were read, in buffers that double when they are full; of a window, the last ones."""

    def __init__(self, B: int, heads: int, channels: int, window: int | None, like: Tensor) -> None:
        self.length, self.dropped, self.window = 0, 0, window
        self.kept = like.new_empty(2, B, heads, 0, channels)

    @property
    def read(self) -> int:
        """Tokens read so far."""
        return self.dropped + self.length

    @property
    def full(self) -> bool:
        """Whether the next token that enters drives out the first one."""
        return self.window is not None and self.length >= self.window - 1

    def reserve(self, count: int, like: Tensor) -> None:
        """Makes room for so many tokens more."""
        end = self.length + count
        if end > self.kept.shape[3]:
            room = like.new_empty(*self.kept.shape[:3], max(end, 2 * self.kept.shape[3]), self.kept.shape[4])
            room[..., : self.length, :] = self.kept[..., : self.length, :]
            self.kept = room

    def add(self, kv_2BHLP: Tensor) -> Tensor:
        """Keys and values of the tokens kept, (2, B, H, T, P), with the new ones behind the others."""
        self.reserve(kv_2BHLP.shape[3], kv_2BHLP)
        end = self.length + kv_2BHLP.shape[3]
        self.kept[..., self.length : end, :] = kv_2BHLP
        self.length = end
        return self.kept[..., :end, :]

    def forget(self) -> None:
        """Drops what no later token of a window sees."""
        if self.window is not None and (over := self.length - (self.window - 1)) > 0:
            self.kept = self.kept[..., over : self.length, :].clone()
            self.length, self.dropped = self.length - over, self.dropped + over


class Attention(Mixer):
    """Multi-head self-attention by torch's scaled_dot_product_attention, over all tokens or only the earlier ones.

    Args:
        heads: number of heads; must divide the width.
        kv_heads: number of heads of keys and values, each shared by heads / kv_heads queries [Ainslie et al. 2023];
            0: as many as heads.
        qk_norm: RMSNorm of each query and key before the rotation [Dehghani et al. 2023, with RMSNorm as in Qwen3].
        window: a token reads itself and the window - 1 tokens before it, and if not causal as many after it; 0: all.
        causal: whether a token reads only itself and the tokens before it.
        rope: whether queries and keys are rotated by their places [Su et al. 2021].
        grid: how the tokens lie behind the first `context` ones, in raster order; empty: all in a row.
    """

    reads = "both ways"
    takes_rope = True
    takes_places = True
    matrices = ("qkv.weight", "out_proj.weight")

    def __init__(
        self,
        d_model: int,
        width: int,
        *,
        heads: int = 4,
        kv_heads: int = 0,
        qk_norm: bool = False,
        window: int = 0,
        causal: bool = False,
        rope: bool = False,
        grid: tuple[int, ...] = (),
        context: int = 0,
    ) -> None:
        super().__init__()
        self.d_model, self.width, self.heads, self.causal, self.rope = d_model, width, heads, causal, rope
        self.grid, self.context = grid, context
        self.kv_heads, self.window = kv_heads or heads, window or None
        self.channels = width // heads
        if rope and (self.channels % 2 or self.channels < 2 * len(grid)):
            least = f"at least {2 * len(grid)}" if grid else "2"
            raise BakeoffError(
                f"attention: rope needs heads of an even width of {least}; {width} / {heads} = {self.channels}."
            )
        if heads % self.kv_heads:
            raise BakeoffError(f"attention: kv_heads = {kv_heads} does not divide heads = {heads}.")
        self.parts = [width, self.kv_heads * self.channels, self.kv_heads * self.channels]
        self.qkv = nn.Linear(d_model, sum(self.parts))
        self.q_norm = nn.RMSNorm(self.channels, eps=EPS) if qk_norm else None
        self.k_norm = nn.RMSNorm(self.channels, eps=EPS) if qk_norm else None
        self.out_proj = nn.Linear(width, d_model)
        norms = ("q_norm.weight", "k_norm.weight") if qk_norm else (None, None)
        self._step_reads = native.Parameters(
            *("qkv.weight", "qkv.bias", *norms, "out_proj.weight", "out_proj.bias"), kinds=(nn.Linear, nn.RMSNorm)
        )

    def forward(self, x_BLD: Tensor) -> Tensor:
        q, k, v = self._qkv(x_BLD, 0)
        return self._out(self._attend(q, k, v, 0))

    def _qkv(self, x_BLD: Tensor, first: int) -> list[Tensor]:
        """Each (B, H, L, P), of tokens whose positions begin at `first`."""
        q, k, v = (one.unflatten(-1, (-1, self.channels)) for one in self.qkv(x_BLD).split(self.parts, dim=-1))
        turning = None
        if self.rope:
            places_Ld = places(first, x_BLD.shape[1], self.grid, self.context, x_BLD.device)
            turning = turns(places_Ld, self.channels // 2)
        if turning is not None or self.q_norm is not None:
            q, k = (
                normed_heads(one, None if norm is None else norm.weight, turning, EPS)
                for one, norm in ((q, self.q_norm), (k, self.k_norm))
            )
        return [one.transpose(1, 2) for one in (q, k, v)]

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, first: int) -> Tensor:
        """Queries of tokens from `first` on, over keys and values from token 0 on; counted from the first one kept."""
        L, T, mask_LT = q.shape[2], k.shape[2], None
        causal = self.causal and L > 1
        if (causal and first) or (self.window is not None and T > 1):
            behind_LT = torch.arange(first, first + L, device=q.device)[:, None] - torch.arange(T, device=q.device)
            mask_LT = behind_LT >= (0 if self.causal else -T)
            if self.window is not None:
                mask_LT &= behind_LT.abs() < self.window
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask_LT, is_causal=causal and mask_LT is None, enable_gqa=self.kv_heads < self.heads
        )

    def _out(self, y_BHLP: Tensor) -> Tensor:
        return self.out_proj(y_BHLP.transpose(1, 2).flatten(2))

    def start(self, B: int) -> Cache:
        if not self.causal:
            raise BakeoffError("attention: only a causal one can go on token by token.")
        return Cache(B, self.kv_heads, self.channels, self.window, self.qkv.weight)

    def prefill(self, x_BLD: Tensor, state: Cache) -> tuple[Tensor, Cache]:
        q, k, v = self._qkv(x_BLD, state.read)
        first = state.length
        k, v = state.add(torch.stack([k, v]))
        y_BHLP = self._attend(q, k, v, first)
        state.forget()
        return self._out(y_BHLP), state

    def step(self, x_BD: Tensor, state: Cache) -> tuple[Tensor, Cache]:
        if native.serves(given := self._native_inputs(x_BD, state)):
            assert given is not None
            if not (slides := state.full):
                state.reserve(1, x_BD)
            turns = turns_of(state.read, self.channels // 2, self.grid, self.context) if self.rope else None
            given = given._replace(cache_2BGTP=state.kept, turns_2I=turns)
            y_BD, state.kept = native.attention(given, self.heads, state.length, slides, EPS)
            state.length, state.dropped = state.length + (not slides), state.dropped + slides
            return y_BD, state
        y_BLD, state = self.prefill(x_BD.unsqueeze(1), state)
        return y_BLD.squeeze(1), state

    def _native_inputs(self, x_BD: Tensor, state: Cache) -> native.AttentionInputs | None:
        """What the kernel of a step reads, the parameters where they are; without the token's place."""
        read = self._step_reads.of(self)
        return None if read is None else native.AttentionInputs._make((x_BD, state.kept, None, *read))

    def flops(self, L: int) -> int:
        pairs = L * L if self.window is None else sum(self._seen(t, L) for t in range(L))
        return L * (2 * self.d_model * sum(self.parts) + 2 * self.width * self.d_model) + 4 * pairs * self.width

    def _seen(self, t: int, L: int) -> int:
        """Tokens that token t reads through its window."""
        assert self.window is not None
        return min(t + 1, self.window) + (0 if self.causal else min(L - 1 - t, self.window - 1))

    def state_bytes(self, L: int) -> int:
        kept = L if self.window is None else min(L, self.window - 1)
        return 2 * kept * self.kv_heads * self.channels * FLOAT_BYTES  # keys and values
