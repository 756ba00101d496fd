"""The Triton kernels of the selective scan; `triton_scan` launches them.

    h_t = a_t h_{t-1} + dt_t u_t B_t, a_t = exp(dt_t A) ;  y_t = <C_t, h_t> + D u_t ;  y_t *= silu(z_t)

A program walks one stretch of one sample for D_BLOCK channels: chunks of T tokens, unrolled; in a chunk N_BLOCK states
at a time; in those the T tokens one after the other. Tiles are (N_BLOCK, D_BLOCK), one warp a row: a thread holds
D_BLOCK / 32 neighbouring channels of one state, so that

- the sum over states, for y and the gradients of u and dt, is an addition in the thread and one exchange between warps
  a chunk;
- the sum over channels, for the gradients of B and C, is D_BLOCK / 32 - 1 additions in the thread and five shuffles,
  that is 2 * 5 / (D_BLOCK / 32) shuffles for 32 elements of the state: at 128 channels 2.5, about what the multiply-adds
  cost (an SM shuffles 32 values a cycle and multiplies 128);
- B_t and C_t are one number per warp, read once for D_BLOCK / 32 elements a thread.

What a thread keeps over the states of a chunk are T vectors each of dt, dt u and y (backward: dt, dt u, dy and two
sums), 5 T D_BLOCK / 32 = 160 registers at T = 8 and 128 channels; h before and after each token adds 4 (T + 1). The state
passes from chunk to chunk through memory (`carry`), in which every thread reads what it wrote itself.

B and C come packed (sample, state, token), float32, in the scan's own order, padded with zeros to Q tokens, whole chunks,
and to N states, whole blocks; the tokens of a chunk are neighbours in them. At tokens beyond the last dt is 0, so that a = 1 and the state
stays. Nothing is added atomically: sums over programs are partial ones that the host adds, in a fixed order.
"""

import triton
import triton.language as tl

from bakeoff.ops.triton_math import sigmoid, silu_slope, softplus

LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def _locate(D, splits, per_split, chunks, D_BLOCK: tl.constexpr):
    """Of this program: stretch (sample and split), sample, first chunk and the one after the last, channels."""
    blocks = tl.cdiv(D, D_BLOCK)
    stretch = tl.program_id(0) // blocks
    first = (stretch % splits) * per_split
    d = (tl.program_id(0) % blocks) * D_BLOCK + tl.arange(0, D_BLOCK)
    return stretch.to(tl.int64), (stretch // splits).to(tl.int64), first, tl.minimum(first + per_split, chunks), d


@triton.jit
def _token(t, L, d, D, REVERSE: tl.constexpr):
    """Where token t of the scan's order lies, and which of its channels exist: none beyond the last token."""
    # Compared as a vector: the interpreter makes integers of a scalar truth that is spread over one.
    return L - 1 - t if REVERSE else t, (d < D) & (t + tl.zeros_like(d) < L)


@triton.jit
def _step(dt, bias, row, inside, d, D, dt_t, SOFTPLUS: tl.constexpr):
    """dt and its slope in what came before the softplus, at one token; dt = 0 beyond the last one."""
    step = tl.load(dt + row * dt_t + d, inside, 0.0).to(tl.float32)
    if bias is not None:
        step += tl.load(bias + d, d < D, 0.0)
    slope = tl.full(step.shape, 1.0, tl.float32)
    if SOFTPLUS:
        step, slope = softplus(step)
    return tl.where(inside, step, 0.0), slope


@triton.jit
def _input(u, row, inside, d, u_t):
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

    With `elapsed` instead of y: only the last state, and the sum of dt, which tells how a state before decays; without
    `carry` too, the sum alone.
    """
    stretch, b, first, last, d = _locate(D, splits, per_split, chunks, D_BLOCK)
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
            row, inside = _token(c * T + i, L, d, D, REVERSE)
            step, _ = _step(dt, bias, row, inside, d, D, dt_t, SOFTPLUS)
            x = _input(u, row, inside, d, u_t)
            sum_dt += step
            dts += (step[None, :],)
            dtus += ((step * x)[None, :],)
            ys += (tl.zeros([N_BLOCK, D_BLOCK], tl.float32),)
        for n0 in range(0, N if carry is not None else 0, N_BLOCK):
            n = n0 + tl.arange(0, N_BLOCK)
            at, mask = n[:, None] * D + d[None, :], (d < D)[None, :]
            a2 = tl.load(A2 + at, mask, 0.0)
            h = tl.load(carry + at, mask, 0.0)
            if states is not None:
                segments = tl.cdiv(chunks, SEGMENT)
                tl.store(states + (b * segments + c // SEGMENT) * N * D + at, h, mask & (c % SEGMENT + tl.zeros_like(at) == 0))
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
                row, inside = _token(c * T + i, L, d, D, REVERSE)
                out = tl.sum(ys[i], 0)
                if skip is not None:
                    out += tl.load(skip + d, d < D, 0.0) * _input(u, row, inside, d, u_t)
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
def _gate(dy, z, ungated, dz, row, inside, dy_t, z_t, D, d, STORE: tl.constexpr):
    """The gradient of y before the gate at one token, and with STORE that of the gate."""
    grad = tl.load(dy + row * dy_t + d, inside, 0.0).to(tl.float32)
    if z is not None:
        gate = tl.load(z + row * z_t + d, inside, 0.0).to(tl.float32)
        s = sigmoid(gate)
        if STORE:
            out = tl.load(ungated + row * D + d, inside, 0.0).to(tl.float32)
            tl.store(dz + row * D + d, grad * out * silu_slope(gate, s), inside)
        grad *= gate * s
    return grad


@triton.jit
def backward(
    u,
    dt,
    A2,
    Bp,
    Cp,
    skip,
    z,
    bias,
    states,
    scratch,
    ungated,
    dy,
    carry,
    du,
    ddt,
    dA,
    dB,
    dC,
    dskip,
    dz,
    dbias,
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
    dy_b,
    dy_t,
    SOFTPLUS: tl.constexpr,
    REVERSE: tl.constexpr,
    SEGMENT: tl.constexpr,
    N_BLOCK: tl.constexpr,
    D_BLOCK: tl.constexpr,
    T: tl.constexpr,
):
    """All gradients. With g_t that of h_t, and dy_t that of <C_t, h_t>:

        g_t = C_t dy_t + a_{t+1} g_{t+1} ;  q_t = g_t a_t h_{t-1}
        dC_t = sum_D h_t dy_t ;  dB_t = sum_D g_t dt_t u_t ;  dA = sum_{B,t} q_t dt_t
        d(dt_t) = sum_N q_t A + u_t <g_t, B_t> ;  du_t = dt_t <g_t, B_t> + D dy_t

    Segments of SEGMENT chunks are walked from the last to the first. In each, the state before every chunk is made again
    in `scratch` from the stored one before the segment; then, chunk by chunk from the last, the states of its tokens in
    registers. The exponentials are made anew wherever needed: here the shuffles and multiply-adds take longer.
    `carry` holds a g of the token after the stretch, and in the end that of the state before it. dA, dskip, dbias are of
    the stretch, dB and dC of the channels of the program.
    """
    stretch, b, first, last, d = _locate(D, splits, per_split, chunks, D_BLOCK)
    blocks = tl.cdiv(D, D_BLOCK)
    u, dt, dy = u + b * u_b, dt + b * dt_b, dy + b * dy_b
    du, ddt = du + b * L * D, ddt + b * L * D
    if z is not None:
        z, dz, ungated = z + b * z_b, dz + b * L * D, ungated + b * L * D
    packed = b * N * Q
    Bp, Cp = Bp + packed, Cp + packed
    partial = (b * blocks + tl.program_id(0) % blocks) * N * Q
    dB, dC = dB + partial, dC + partial
    carry, dA, scratch = carry + stretch * N * D, dA + stretch * N * D, scratch + stretch * SEGMENT * N * D
    states += b * tl.cdiv(chunks, SEGMENT) * N * D
    sum_skip, sum_bias = tl.zeros([D_BLOCK], tl.float32), tl.zeros([D_BLOCK], tl.float32)
    mask = (d < D)[None, :]
    segments = tl.cdiv(last - first, SEGMENT)
    for back in range(segments):
        start = first + (segments - 1 - back) * SEGMENT
        count = tl.minimum(SEGMENT, last - start)
        before = states + (start // SEGMENT) * N * D
        for k in range(count - 1):
            dts, dtus = (), ()
            for i in tl.static_range(T):
                row, inside = _token((start + k) * T + i, L, d, D, REVERSE)
                step, _ = _step(dt, bias, row, inside, d, D, dt_t, SOFTPLUS)
                x = _input(u, row, inside, d, u_t)
                dts += (step[None, :],)
                dtus += ((step * x)[None, :],)
            source = before if k == 0 else scratch + k * N * D
            for n0 in range(0, N, N_BLOCK):
                n = n0 + tl.arange(0, N_BLOCK)
                at, tokens = n[:, None] * D + d[None, :], n * Q + (start + k) * T
                a2, h = tl.load(A2 + at, mask, 0.0), tl.load(source + at, mask, 0.0)
                for i in tl.static_range(T):
                    h = tl.exp2(dts[i] * a2) * h + dtus[i] * tl.load(Bp + tokens + i)[:, None]
                tl.store(scratch + (k + 1) * N * D + at, h, mask)
            tl.debug_barrier()
        for k in range(count - 1, -1, -1):
            c = start + k
            dts, dtus, dys, g_Bs, q_As = (), (), (), (), ()
            for i in tl.static_range(T):
                row, inside = _token(c * T + i, L, d, D, REVERSE)
                step, _ = _step(dt, bias, row, inside, d, D, dt_t, SOFTPLUS)
                x = _input(u, row, inside, d, u_t)
                dts += (step[None, :],)
                dtus += ((step * x)[None, :],)
                dys += (_gate(dy, z, ungated, dz, row, inside, dy_t, z_t, D, d, True)[None, :],)
                g_Bs += (tl.zeros([N_BLOCK, D_BLOCK], tl.float32),)
                q_As += (tl.zeros([N_BLOCK, D_BLOCK], tl.float32),)
            source = before if k == 0 else scratch + k * N * D
            for n0 in range(0, N, N_BLOCK):
                n = n0 + tl.arange(0, N_BLOCK)
                at, tokens = n[:, None] * D + d[None, :], n * Q + c * T
                a2, h = tl.load(A2 + at, mask, 0.0), tl.load(source + at, mask, 0.0)
                g, dA_sum = tl.load(carry + at, mask, 0.0), tl.load(dA + at, mask, 0.0)
                hs = (h,)
                for i in tl.static_range(T):
                    h = tl.exp2(dts[i] * a2) * h + dtus[i] * tl.load(Bp + tokens + i)[:, None]
                    hs += (h,)
                sums_B, sums_A = (), ()
                for i in tl.static_range(T - 1, -1, -1):
                    b_t, c_t = tl.load(Bp + tokens + i)[:, None], tl.load(Cp + tokens + i)[:, None]
                    g += c_t * dys[i]
                    tl.store(dC + tokens + i, tl.sum(hs[i + 1] * dys[i], 1))
                    tl.store(dB + tokens + i, tl.sum(g * dtus[i], 1))
                    sums_B = (g_Bs[i] + g * b_t,) + sums_B
                    g *= tl.exp2(dts[i] * a2)
                    q = g * hs[i]
                    sums_A = (q_As[i] + q * a2,) + sums_A
                    dA_sum += q * dts[i]
                g_Bs, q_As = sums_B, sums_A
                tl.store(carry + at, g, mask)
                tl.store(dA + at, dA_sum, mask)
            for i in tl.static_range(T):
                row, inside = _token(c * T + i, L, d, D, REVERSE)
                step, slope = _step(dt, bias, row, inside, d, D, dt_t, SOFTPLUS)
                x = _input(u, row, inside, d, u_t)
                grad = _gate(dy, z, ungated, dz, row, inside, dy_t, z_t, D, d, False)
                g_B, q_A = tl.sum(g_Bs[i], 0), tl.sum(q_As[i], 0) * LN2
                dx = step * g_B
                if skip is not None:
                    dx += grad * tl.load(skip + d, d < D, 0.0)
                    sum_skip += grad * x
                dstep = tl.where(inside, (q_A + x * g_B) * slope, 0.0)
                sum_bias += dstep
                tl.store(du + row * D + d, dx, inside)
                tl.store(ddt + row * D + d, dstep, inside)
            tl.debug_barrier()
    if skip is not None:
        tl.store(dskip + stretch * D + d, sum_skip, d < D)
    if bias is not None:
        tl.store(dbias + stretch * D + d, sum_bias, d < D)


@triton.jit
def adjoint(
    dt,
    A2,
    Cp,
    z,
    bias,
    dy,
    carry,
    L,
    D,
    N,
    Q,
    chunks,
    splits,
    per_split,
    dt_b,
    dt_t,
    z_b,
    z_t,
    dy_b,
    dy_t,
    SOFTPLUS: tl.constexpr,
    REVERSE: tl.constexpr,
    N_BLOCK: tl.constexpr,
    D_BLOCK: tl.constexpr,
    T: tl.constexpr,
):
    """Of every stretch: the gradient of the state before it through the stretch alone, a_t (g + C_t dy_t) repeated."""
    stretch, b, first, last, d = _locate(D, splits, per_split, chunks, D_BLOCK)
    dt, dy, Cp, carry = dt + b * dt_b, dy + b * dy_b, Cp + b * N * Q, carry + stretch * N * D
    if z is not None:
        z += b * z_b
    mask = (d < D)[None, :]
    for c in range(last - 1, first - 1, -1):
        dts, dys = (), ()
        for i in tl.static_range(T):
            row, inside = _token(c * T + i, L, d, D, REVERSE)
            step, _ = _step(dt, bias, row, inside, d, D, dt_t, SOFTPLUS)
            dts += (step[None, :],)
            dys += (_gate(dy, z, None, None, row, inside, dy_t, z_t, D, d, False)[None, :],)
        for n0 in range(0, N, N_BLOCK):
            n = n0 + tl.arange(0, N_BLOCK)
            at, tokens = n[:, None] * D + d[None, :], n * Q + c * T
            a2, g = tl.load(A2 + at, mask, 0.0), tl.load(carry + at, mask, 0.0)
            for i in tl.static_range(T - 1, -1, -1):
                g = (g + tl.load(Cp + tokens + i)[:, None] * dys[i]) * tl.exp2(dts[i] * a2)
            tl.store(carry + at, g, mask)
        tl.debug_barrier()


@triton.jit
def combine(carry, end, elapsed, A2, D, size, splits, BACK: tl.constexpr, BLOCK: tl.constexpr):
    """Replaces what each stretch alone makes of a zero state by the state that enters it; the first gets `end`.

    With BACK the stretches are walked from the last to the first, as gradients are.
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
