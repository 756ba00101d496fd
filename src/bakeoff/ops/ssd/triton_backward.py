"""The Triton kernels of the state space dual form's gradients; names, tiles and layouts as in `triton_forward`.

With S_ij = q_i . k_j, E_ij = dy_i . v_j, h the state before a chunk and dh' the gradient of the one after it:

    M_ij = A_ij w_j S_ij for an earlier token j, g_j S_ij for the same ;  dS_ij likewise with E
    dv = M^T dy + exp(c_T - c_j) w_j dh' k_j
    dq = dS k + exp(c_i) h^T dy_i ;  dk = dS^T q + exp(c_T - c_j) w_j dh'^T v_j
    dw_j = sum_i A_ij S_ij E_ij + exp(c_T - c_j) v_j . dh' k_j ;  dg_j = sum_i S_ij E_ij over the same token
    dh = exp(c_T) dh' + sum_i exp(c_i) dy_i q_i^T, by `chunk_sums` and `hand_on` beforehand

A log decay a_r is part of every path from a token before r to one from r on. Just these are summed to its gradient:

    da_r = sum_{i >= r > j} A_ij w_j S_ij E_ij + sum_{i >= r} exp(c_i) dy_i . h q_i
         + sum_{j < r} exp(c_T - c_j) w_j v_j . dh' k_j + exp(c_T) <dh', h>

A running sum over the gradient of c, as in Mamba-2's own kernels, would add and take away again the other paths.

`triton_forward.outputs` makes dv and `gradients` the rest. One kernel for both would make S once less, and spill
registers.
"""

# Triton's language is not Python's types: its ranges, constants and tuples are the compiler's, as are tests for None.
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportArgumentType=false
# pyright: reportPossiblyUnboundVariable=false

import triton
import triton.language as tl

from bakeoff.ops.ssd.triton_forward import (
    decay_to_end,
    load_rows,
    load_state,
    locate,
    product,
    rows_of,
    segment_sums,
    shares,
)
from bakeoff.ops.triton_math import exp_nonpositive


@triton.jit
def over_ranks(x, token, R: tl.constexpr):
    """At every row the sum over all rows of its token."""
    if R == 1:
        return x
    return tl.sum(tl.where(token[:, None] == token[None, :], x[None, :], 0.0), 1)


@triton.jit
def gradients(
    q,
    k,
    v,
    log_decay,
    w,
    g,
    states,
    dstates,
    dy,
    dq,
    dk,
    dlog_decay,
    dw,
    dg,
    L,
    H,
    chunks,
    heads,
    q_b,
    q_t,
    k_b,
    k_t,
    v_b,
    v_t,
    dy_b,
    dy_t,
    R: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
    REVERSE: tl.constexpr,
    ROWS: tl.constexpr,
    P_BLOCK: tl.constexpr,
    N_BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """dq and dk (B, L, H, R, N), of each head its own; da, dw, dg. Absent `states` or `dstates` are zero."""
    b, chunk, head, _ = locate(H, chunks, 1)
    token, rank, place, inside = rows_of(chunk, L, R, ROWS, REVERSE)
    at = (b * L + place) * H + head
    first_rows = inside & (rank == 0)
    a, weight = tl.load(log_decay + at, first_rows, 0.0), tl.load(w + at, inside, 0.0)
    group, item = head // heads * R * N, ((b * H + head) * chunks + chunk) * P * N
    q, k = q + b * q_b + group, k + b * k_b + group
    v, dy = v + b * v_b + head * R * P, dy + b * dy_b + head * R * P

    scores, products = tl.zeros([ROWS, ROWS], tl.float32), tl.zeros([ROWS, ROWS], tl.float32)
    for n0 in range(0, N, N_BLOCK):
        n = n0 + tl.arange(0, N_BLOCK)
        k_tile = load_rows(k, place, rank, inside, n, k_t, R, N)
        scores = product(load_rows(q, place, rank, inside, n, q_t, R, N), tl.trans(k_tile), scores, PRECISION)
    for p0 in range(0, P, P_BLOCK):
        p = p0 + tl.arange(0, P_BLOCK)
        v_tile = load_rows(v, place, rank, inside, p, v_t, R, P)
        products = product(load_rows(dy, place, rank, inside, p, dy_t, R, P), tl.trans(v_tile), products, PRECISION)

    sums = segment_sums(a, token)
    dscores = shares(sums, weight, tl.load(g + at, inside, 0.0), token) * products
    products *= scores
    same = tl.sum(tl.where(token[:, None] == token[None, :], products, 0.0), 0)
    tl.store(dg + at, over_ranks(same, token, R), first_rows)
    earlier = token[:, None] > token[None, :]
    products = tl.where(earlier, exp_nonpositive(sums), 0.0) * products
    dweight = tl.sum(products, 0)
    # At [r, j] the running sum is over rows i from r on.
    da = tl.sum(tl.where(earlier, tl.cumsum(products * weight[None, :], 0, reverse=True), 0.0), 1)

    from_start, to_end = exp_nonpositive(tl.cumsum(a, 0)), decay_to_end(a, token)
    read, written = tl.zeros([ROWS], tl.float32), tl.zeros([ROWS], tl.float32)
    whole = 0.0
    to = (at * R + rank)[:, None] * N
    for n0 in range(0, N, N_BLOCK):
        n = n0 + tl.arange(0, N_BLOCK)
        q_tile = load_rows(q, place, rank, inside, n, q_t, R, N)
        k_tile = load_rows(k, place, rank, inside, n, k_t, R, N)
        q_grad, k_grad = tl.zeros([ROWS, N_BLOCK], tl.float32), tl.zeros([ROWS, N_BLOCK], tl.float32)
        for p0 in range(0, P, P_BLOCK):
            p = p0 + tl.arange(0, P_BLOCK)
            if states is not None:
                h = load_state(states + item, p, n, P, N)
                q_grad = product(load_rows(dy, place, rank, inside, p, dy_t, R, P), h, q_grad, PRECISION)
            if dstates is not None:
                dh = load_state(dstates + item, p, n, P, N)
                k_grad = product(load_rows(v, place, rank, inside, p, v_t, R, P), dh, k_grad, PRECISION)
                if states is not None:
                    whole += tl.sum(h * dh)
        if states is not None:
            q_grad *= from_start[:, None]
            read += tl.sum(q_grad * q_tile, 1)
        if dstates is not None:
            k_grad *= to_end[:, None]
            written += tl.sum(k_grad * k_tile, 1)
            k_grad *= weight[:, None]
        mask = inside[:, None] & (n < N)[None, :]
        tl.store(dq + to + n[None, :], product(dscores, k_tile, q_grad, PRECISION), mask)
        tl.store(dk + to + n[None, :], product(tl.trans(dscores), q_tile, k_grad, PRECISION), mask)

    tl.store(dw + at, over_ranks(dweight + written, token, R), first_rows)
    da += tl.sum(tl.where(token[:, None] > token[None, :], (written * weight)[None, :], 0.0), 1)
    da += tl.sum(tl.where(token[:, None] <= token[None, :], read[None, :], 0.0), 1)
    da += exp_nonpositive(tl.sum(a, 0)) * whole
    tl.store(dlog_decay + at, da, first_rows)
