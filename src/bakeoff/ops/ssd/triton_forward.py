"""The forward Triton kernels of the state space dual form; `triton_backward` has the gradients, `triton_launch` both.

A chunk of T tokens is a matrix product [Dao & Gu 2024, section 6], a token's R ranks being R rows of it: row i is rank
i % R of token i // R. With A_ij the decay from the token of row j to that of row i, and h the state before the chunk:

    y_i = exp(c_i) h q_i + sum_j M_ij v_j ;  M_ij = A_ij w_j (q_i . k_j) for an earlier token j, g_j (q_i . k_j) for
    the same ;  h after = exp(c_T) h + sum_j exp(c_T - c_j) w_j v_j k_j^T

Three kernels: `chunk_sums` makes the last sum for all chunks in parallel, `hand_on` walks the chunks and replaces each
sum by the state before the chunk, `outputs` makes y of all chunks in parallel. All three serve backward, too. A program
of the first and last has one chunk of one head; heads come first in their order, since those of a group read the same q
and k.

Tiles are padded to powers of two: ROWS >= T R rows, N_BLOCK states and P_BLOCK channels. Padded rows have no decay, no
weight, and zeros for q, k and v. States are (B, H, C, P, N), C chunks, float32. The order of all sums is fixed.
"""

# Triton's language is not Python's types: its ranges, constants and tuples are the compiler's.
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportArgumentType=false

import triton
import triton.language as tl

from bakeoff.ops.triton_math import exp_nonpositive


@triton.jit
def locate(H, chunks, tiles):
    """This program's sample, chunk, head and tile."""
    tile, item = tl.program_id(0) % tiles, tl.program_id(0) // tiles
    return (item // H // chunks).to(tl.int64), item // H % chunks, item % H, tile


@triton.jit
def rows_of(chunk, L, R: tl.constexpr, ROWS: tl.constexpr, REVERSE: tl.constexpr):
    """Of every row of a chunk: its token in the chunk, its rank, where its token lies, and whether it exists."""
    i = tl.arange(0, ROWS)
    token, rank = i // R, i % R
    t = chunk * (ROWS // R) + token
    inside = (token < ROWS // R) & (t < L)
    return token, rank, (L - 1 - t if REVERSE else t).to(tl.int64), inside


@triton.jit
def load_rows(x, place, rank, inside, columns, x_t, R: tl.constexpr, SIZE: tl.constexpr):
    """(ROWS, columns) of a sequence's tensor at one group or head, whose tokens lie x_t apart; zeros outside."""
    at = place[:, None] * x_t + rank[:, None] * SIZE + columns[None, :]
    return tl.load(x + at, inside[:, None] & (columns < SIZE)[None, :], 0.0)


@triton.jit
def load_state(states, p, n, P: tl.constexpr, N: tl.constexpr):
    return tl.load(states + p[:, None] * N + n[None, :], (p < P)[:, None] & (n < N)[None, :], 0.0)


@triton.jit
def product(a, b, c, PRECISION: tl.constexpr):
    """a b + c in float32. Converts: the interpreter does not multiply bfloat16, and most factors are float32 anyway."""
    return tl.dot(a.to(tl.float32), b.to(tl.float32), c, input_precision=PRECISION)


@triton.jit
def segment_sums(a, token):
    """At [i, j] the sum of log decays after the token of row j up to that of row i; 0 where j's is not earlier.

    `a` has a token's at the first of its rows. Summed piece by piece, as in `reference`: the difference of two running
    sums loses small terms behind large ones, and may come out positive.
    """
    return tl.cumsum(tl.where(token[:, None] > token[None, :], a[:, None], 0.0), 0)


@triton.jit
def shares(sums, weight, own, token):
    """What row i takes of the product of q_i and k_j: decay times w_j of an earlier token, g_j of the same, or 0."""
    later = exp_nonpositive(sums) * weight[None, :]
    same = tl.where(token[:, None] == token[None, :], own[None, :], 0.0)
    return tl.where(token[:, None] > token[None, :], later, same)


@triton.jit
def decay_to_end(a, token):
    """exp(c_T - c_j) of every row; summed piece by piece too."""
    return exp_nonpositive(tl.sum(tl.where(token[:, None] > token[None, :], a[:, None], 0.0), 0))


@triton.jit
def chunk_sums(
    x,
    z,
    log_decay,
    w,
    sums,
    totals,
    L,
    H,
    chunks,
    heads,
    x_b,
    x_t,
    z_b,
    z_t,
    R: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
    BACK: tl.constexpr,
    REVERSE: tl.constexpr,
    ROWS: tl.constexpr,
    P_BLOCK: tl.constexpr,
    N_BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """sum_j exp(c_T - c_j) w_j x_j z_j^T of every chunk, where x is v and z is k; and c_T in `totals` (B, H, C).

    With BACK it is sum_i exp(c_i) x_i z_i^T, where x is the gradient of y and z is q: that of the state before the
    chunk through the chunk's own outputs. `heads` are those of a group.
    """
    b, chunk, head, tile = locate(H, chunks, tl.cdiv(P, P_BLOCK) * tl.cdiv(N, N_BLOCK))
    token, rank, place, inside = rows_of(chunk, L, R, ROWS, REVERSE)
    at = (b * L + place) * H + head
    a = tl.load(log_decay + at, inside & (rank == 0), 0.0)
    item = (b * H + head) * chunks + chunk
    if tile == 0:
        tl.store(totals + item, tl.sum(a, 0))
    if BACK:
        weight = exp_nonpositive(tl.cumsum(a, 0))
    else:
        weight = decay_to_end(a, token) * tl.load(w + at, inside, 0.0)
    p = tile // tl.cdiv(N, N_BLOCK) * P_BLOCK + tl.arange(0, P_BLOCK)
    n = tile % tl.cdiv(N, N_BLOCK) * N_BLOCK + tl.arange(0, N_BLOCK)
    x_tile = load_rows(x + b * x_b + head * R * P, place, rank, inside, p, x_t, R, P)
    z_tile = load_rows(z + b * z_b + head // heads * R * N, place, rank, inside, n, z_t, R, N)
    zeros = tl.zeros([P_BLOCK, N_BLOCK], tl.float32)
    total = product(tl.trans(x_tile * weight[:, None]), z_tile, zeros, PRECISION)
    mask = (p < P)[:, None] & (n < N)[None, :]
    tl.store(sums + item * P * N + p[:, None] * N + n[None, :], total, mask)


@triton.jit
def hand_on(states, totals, start, end, chunks, SIZE: tl.constexpr, BACK: tl.constexpr, BLOCK: tl.constexpr):
    """Replaces what each chunk adds by the state before the chunk; the first has `start`. `end` is the last state.

    With BACK it walks the chunks from the last to the first, and gradients take the place of states: each is replaced
    by that of the state after the chunk, and `end` is that of the first state.
    """
    blocks = tl.cdiv(SIZE, BLOCK)
    item = (tl.program_id(0) // blocks).to(tl.int64)
    at = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    inside = at < SIZE
    h = tl.zeros([BLOCK], tl.float32)
    if start is not None:
        h = tl.load(start + item * SIZE + at, inside, 0.0)
    first = item * chunks + (chunks - 1 if BACK else 0)
    added = tl.load(states + first * SIZE + at, inside, 0.0)
    for i in range(chunks):
        chunk = first - i if BACK else first + i
        # One chunk ahead, before the store: the walk does not wait for memory. The last reads itself once more.
        ahead = tl.minimum(i + 1, chunks - 1)
        following = tl.load(states + (first - ahead if BACK else first + ahead) * SIZE + at, inside, 0.0)
        tl.store(states + chunk * SIZE + at, h, inside)
        h = exp_nonpositive(tl.load(totals + chunk)) * h + added
        added = following
    if end is not None:
        tl.store(end + item * SIZE + at, h, inside)


@triton.jit
def outputs(
    q,
    k,
    x,
    log_decay,
    w,
    g,
    states,
    y,
    L,
    H,
    chunks,
    heads,
    q_b,
    q_t,
    k_b,
    k_t,
    x_b,
    x_t,
    R: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
    BACK: tl.constexpr,
    REVERSE: tl.constexpr,
    ROWS: tl.constexpr,
    P_BLOCK: tl.constexpr,
    N_BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """y = M v + exp(c_i) h q_i, where x is v and `states` those before the chunks; zero if absent.

    With BACK it is the gradient of v, M^T dy + exp(c_T - c_j) w_j dh' k_j, where x is the gradient of y and `states`
    have those of the states after the chunks.
    """
    b, chunk, head, tile = locate(H, chunks, tl.cdiv(P, P_BLOCK))
    token, rank, place, inside = rows_of(chunk, L, R, ROWS, REVERSE)
    at = (b * L + place) * H + head
    a = tl.load(log_decay + at, inside & (rank == 0), 0.0)
    p = tile * P_BLOCK + tl.arange(0, P_BLOCK)
    group = head // heads * R * N
    q, k = q + b * q_b + group, k + b * k_b + group
    if states is not None:
        states += ((b * H + head) * chunks + chunk) * P * N
    scores = tl.zeros([ROWS, ROWS], tl.float32)
    carried = tl.zeros([ROWS, P_BLOCK], tl.float32)
    for n0 in range(0, N, N_BLOCK):
        n = n0 + tl.arange(0, N_BLOCK)
        q_tile = load_rows(q, place, rank, inside, n, q_t, R, N)
        k_tile = load_rows(k, place, rank, inside, n, k_t, R, N)
        scores = product(q_tile, tl.trans(k_tile), scores, PRECISION)
        if states is not None:
            h = tl.trans(load_state(states, p, n, P, N))
            carried = product(k_tile if BACK else q_tile, h, carried, PRECISION)
    weight, own = tl.load(w + at, inside, 0.0), tl.load(g + at, inside, 0.0)
    mixing = shares(segment_sums(a, token), weight, own, token) * scores
    if states is not None:
        if BACK:
            carried *= (decay_to_end(a, token) * weight)[:, None]
        else:
            carried *= exp_nonpositive(tl.cumsum(a, 0))[:, None]
    x_tile = load_rows(x + b * x_b + head * R * P, place, rank, inside, p, x_t, R, P)
    out = product(tl.trans(mixing) if BACK else mixing, x_tile, carried, PRECISION)
    to = (at * R + rank)[:, None] * P + p[None, :]
    tl.store(y + to, out, inside[:, None] & (p < P)[None, :])
