"""The forward Triton kernels of the selective scan; `triton_backward` has the gradients, `triton_launch` launches all.

    h_t = a_t h_{t-1} + dt_t u_t B_t, a_t = exp(dt_t A) ;  y_t = <C_t, h_t> + D u_t ;  y_t *= silu(z_t)

A program walks one stretch of one sample for D_BLOCK channels in chunks of T tokens, unrolled. In a chunk it takes
N_BLOCK states at a time, and for those the T tokens one after the other. Tiles are (N_BLOCK, D_BLOCK), at most one warp
a row: a thread holds D_BLOCK / 32 neighbouring channels of one state, so that

- the sum over states, for y and the gradients of u and dt, is an addition in the thread;
- the sum over channels, for the gradients of B and C, is D_BLOCK / 32 - 1 additions in the thread and five shuffles:
  for 32 elements of the state two times 5 / (D_BLOCK / 32) shuffles, 2.5 at 128 channels. An SM shuffles 32 values a
  cycle and multiplies 128, so these weigh as much as ten multiply-adds;
- B_t and C_t are one number per warp, read once for D_BLOCK / 32 elements a thread.

Over the states of a chunk a thread keeps T vectors each of dt, dt u and y (backward: dt, dt u, dy and two sums), 5 T
D_BLOCK / 32 = 140 registers at T = 7 and 128 channels; backward also h and a at each token, 8 T. Shared memory is not
used. The state passes from chunk to chunk through memory (`carry`), where every thread reads what it wrote itself.

B and C come packed (sample, state, token), float32, in the scan's own order, padded with zeros to Q tokens, whole
chunks, and to N states, whole blocks; the tokens of a chunk are neighbours in them. At tokens beyond the last dt is 0,
so that a = 1 and the state stays. Nothing is added atomically: sums over programs are partial ones that the host adds,
in a fixed order.
"""

# Triton's language is not Python's types: its ranges, constants and tuples are the compiler's.
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportArgumentType=false

import triton
import triton.language as tl

from bakeoff.ops.triton_math import sigmoid, softplus


@triton.jit
def locate(D, splits, per_split, chunks, D_BLOCK: tl.constexpr):
    """This program's stretch (sample and split), its sample, first chunk, the chunk after the last, and channels."""
    blocks = tl.cdiv(D, D_BLOCK)
    stretch = tl.program_id(0) // blocks
    first = (stretch % splits) * per_split
    d = (tl.program_id(0) % blocks) * D_BLOCK + tl.arange(0, D_BLOCK)
    return stretch.to(tl.int64), (stretch // splits).to(tl.int64), first, tl.minimum(first + per_split, chunks), d


@triton.jit
def token(t, L, d, D, REVERSE: tl.constexpr):
    """Where token t of the scan's order lies, and which of its channels exist: none beyond the last token."""
    # Compares vectors: the interpreter turns a scalar truth value into integers when it spreads it over a vector.
    return L - 1 - t if REVERSE else t, (d < D) & (t + tl.zeros_like(d) < L)


@triton.jit
def step_of(dt, bias, row, inside, d, D, dt_t, SOFTPLUS: tl.constexpr):
    """dt at one token, and its derivative by the argument of the softplus; dt = 0 beyond the last token."""
    step = tl.load(dt + row * dt_t + d, inside, 0.0).to(tl.float32)
    if bias is not None:
        step += tl.load(bias + d, d < D, 0.0)
    slope = tl.full(step.shape, 1.0, tl.float32)
    if SOFTPLUS:
        step, slope = softplus(step)
    return tl.where(inside, step, 0.0), slope


@triton.jit
def input_of(u, row, inside, d, u_t):
    return tl.load(u + row * u_t + d, inside, 0.0).to(tl.float32)


@triton.jit
def forward(
    u,
    dt,
    A2,
    Bp,
    Cp,
    skip,
    z,
    bias,
    carry,
    states,
    y,
    ungated,
    elapsed,
    L,
    D,
    N,
    Q,
    chunks,
    splits,
    per_split,
    u_b,
    u_t,
    dt_b,
    dt_t,
    z_b,
    z_t,
    SOFTPLUS: tl.constexpr,
    REVERSE: tl.constexpr,
    SEGMENT: tl.constexpr,
    N_BLOCK: tl.constexpr,
    D_BLOCK: tl.constexpr,
    T: tl.constexpr,
):
    """y, the state before every SEGMENT-th chunk in `states`, and the last one in `carry`.

    With `elapsed` instead of y it computes only the last state and the sum of dt, which tells how an earlier state
    decays; without `carry` as well, only that sum.
    """
    stretch, b, first, last, d = locate(D, splits, per_split, chunks, D_BLOCK)
    u, dt = u + b * u_b, dt + b * dt_b
    if y is not None:
        y += b * L * D
        if ungated is not None:
            ungated += b * L * D
            z += b * z_b
        Cp += b * N * Q
    Bp += b * N * Q
    if carry is not None:
        carry += stretch * N * D
    sum_dt = tl.zeros([D_BLOCK], tl.float32)
    for c in range(first, last):
        dts, dtus, ys = (), (), ()
        for i in tl.static_range(T):
            row, inside = token(c * T + i, L, d, D, REVERSE)
            step, _ = step_of(dt, bias, row, inside, d, D, dt_t, SOFTPLUS)
            x = input_of(u, row, inside, d, u_t)
            sum_dt += step
            dts += (step[None, :],)
            dtus += ((step * x)[None, :],)
            ys += (tl.zeros([N_BLOCK, D_BLOCK], tl.float32),)
        if carry is not None:
            for n0 in range(0, N, N_BLOCK):
                n = n0 + tl.arange(0, N_BLOCK)
                at, mask = n[:, None] * D + d[None, :], (d < D)[None, :]
                a2 = tl.load(A2 + at, mask, 0.0)
                h = tl.load(carry + at, mask, 0.0)
                if states is not None:
                    segments = tl.cdiv(chunks, SEGMENT)
                    tl.store(
                        states + (b * segments + c // SEGMENT) * N * D + at,
                        h,
                        mask & (c % SEGMENT + tl.zeros_like(at) == 0),
                    )
                tokens = n * Q + c * T
                sums = ()
                for i in tl.static_range(T):
                    h = tl.exp2(dts[i] * a2) * h + dtus[i] * tl.load(Bp + tokens + i)[:, None]
                    if y is not None:
                        sums += (ys[i] + h * tl.load(Cp + tokens + i)[:, None],)
                    else:
                        sums += (ys[i],)
                ys = sums
                tl.store(carry + at, h, mask)
        if y is not None:
            for i in tl.static_range(T):
                row, inside = token(c * T + i, L, d, D, REVERSE)
                out = tl.sum(ys[i], 0)
                if skip is not None:
                    out += tl.load(skip + d, d < D, 0.0) * input_of(u, row, inside, d, u_t)
                if z is not None:
                    if ungated is not None:
                        tl.store(ungated + row * D + d, out, inside)
                    gate = tl.load(z + row * z_t + d, inside, 0.0).to(tl.float32)
                    out *= gate * sigmoid(gate)
                tl.store(y + row * D + d, out, inside)
        tl.debug_barrier()
    if elapsed is not None:
        tl.store(elapsed + stretch * D + d, sum_dt, d < D)


@triton.jit
def combine(carry, end, elapsed, A2, D, size, splits, BACK: tl.constexpr, BLOCK: tl.constexpr):
    """Replaces what each stretch alone makes of a zero state by the state that enters it; the first gets `end`.

    With BACK it walks the stretches from the last to the first, as gradients need it.
    """
    blocks = tl.cdiv(size, BLOCK)
    b = (tl.program_id(0) // blocks).to(tl.int64)
    at = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    a2, h = tl.load(A2 + at, inside, 0.0), tl.zeros([BLOCK], tl.float32)
    if end is not None:
        h = tl.load(end + b * size + at, inside, 0.0)
    for i in range(splits):
        stretch = b * splits + (splits - 1 - i if BACK else i)
        alone = tl.load(carry + stretch * size + at, inside, 0.0)
        tl.store(carry + stretch * size + at, h, inside)
        h = tl.exp2(a2 * tl.load(elapsed + stretch * D + at % D, inside, 0.0)) * h + alone
