"""The state space dual form in plain PyTorch: chunks of matrix products, differentiable by autograd to any order.

Shapes: B batch, L tokens, G groups of queries and keys, H heads, J = H / G heads a group, R ranks, N states, P channels
a head; c chunks of Q tokens each. Indices of tokens: t of the output, s of the input; of ranks: i and j.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LONGEST = 64  # rows of a chunk at most, a token counting R times; the work hardly depends on it between 28 and 98


def ssd(
    q_BLGRN: Tensor,
    k_BLGRN: Tensor,
    v_BLHRP: Tensor,
    log_decay_BLH: Tensor,
    w_BLH: Tensor,
    g_BLH: Tensor,
    initial_BHPN: Tensor | None,
    reverse: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """y and the final state, both in `dtype`. Memory is linear in L: no (L, L) tensor exists beyond a chunk."""
    with torch.autocast(v_BLHRP.device.type, enabled=False):
        given = [x.to(dtype) for x in (q_BLGRN, k_BLGRN, v_BLHRP, log_decay_BLH, w_BLH, g_BLH)]
        initial = None if initial_BHPN is None else initial_BHPN.to(dtype)
        y, final = _forward([x.flip(1) for x in given] if reverse else given, initial)
        return (y.flip(1) if reverse else y), final


def _forward(given: list[Tensor], h: Tensor | None) -> tuple[Tensor, Tensor]:
    q, k, v, a, w, g = given
    (B, L, G, R, N), (H, P) = q.shape, (v.shape[2], v.shape[4])
    chunks = -(-L * R // LONGEST)
    Q = -(-L // chunks)
    chunks = -(-L // Q)

    def chunked(x: Tensor) -> Tensor:
        """(B, L, ...) as (B, c, Q, ...); padded tokens have neither decay nor weight."""
        return F.pad(x, [0, 0] * (x.dim() - 2) + [0, chunks * Q - L]).unflatten(1, (chunks, Q))

    q, k = (chunked(x).movedim(2, 3) for x in (q, k))  # (B, c, G, Q, R, N)
    v = chunked(v).unflatten(3, (G, H // G)).permute(0, 1, 3, 4, 2, 5, 6)  # (B, c, G, J, Q, R, P)
    a, w, g = (chunked(x).unflatten(3, (G, H // G)).permute(0, 1, 3, 4, 2) for x in (a, w, g))  # (B, c, G, J, Q)

    decay_ts = segment_sums(a).exp()
    within_ts = (decay_ts * w.unsqueeze(-2)).tril(-1) + torch.diag_embed(g)
    scores = q.flatten(3, 4) @ k.flatten(3, 4).transpose(-1, -2)  # (B, c, G, QR, QR)
    mixed = within_ts.repeat_interleave(R, -1).repeat_interleave(R, -2) * scores.unsqueeze(3)
    y = (mixed @ v.flatten(4, 5)).unflatten(4, (Q, R))

    # what a chunk adds to the state: sum_s exp(c_Q - c_s) w_s v_s k_s^T, all ranks in one sum
    weighted = v * (decay_ts[..., -1, :] * w)[..., None, None]
    added = weighted.flatten(4, 5).transpose(-1, -2) @ k.flatten(3, 4).unsqueeze(3)  # (B, c, G, J, P, N)
    kept = a.sum(-1).exp()[..., None, None]
    h = v.new_zeros(B, G, H // G, P, N) if h is None else h.unflatten(1, (G, H // G))
    before = []
    for chunk in range(chunks):
        before.append(h)
        h = kept[:, chunk] * h + added[:, chunk]
    carried = q.flatten(3, 4).unsqueeze(3) @ torch.stack(before, 1).transpose(-1, -2)  # (B, c, G, J, QR, P)
    y = y + a.cumsum(-1).exp()[..., None, None] * carried.unflatten(4, (Q, R))
    return y.permute(0, 1, 4, 2, 3, 5, 6).reshape(B, chunks * Q, H, R, P)[:, :L], h.flatten(1, 2)


def segment_sums(a: Tensor) -> Tensor:
    """(..., Q) -> (..., Q, Q): at [t, s] the sum of a_{s+1} ... a_t; minus infinity where s > t.

    Summed piece by piece: the difference of two running sums loses small terms behind large ones.
    """
    Q = a.shape[-1]
    later = torch.ones(Q, Q, dtype=torch.bool, device=a.device).tril(-1)
    sums = a.unsqueeze(-1).expand(*a.shape, Q).masked_fill(~later, 0).cumsum(-2)
    return sums.masked_fill(later.T, -torch.inf)
