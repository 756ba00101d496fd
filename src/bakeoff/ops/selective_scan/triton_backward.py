"""The Triton kernels of the selective scan's gradients; tiles and layouts as in `triton_forward`."""

# Triton's language is not Python's types: its ranges, constants and tuples are the compiler's.
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportArgumentType=false
# ruff: noqa: RUF005

import triton
import triton.language as tl

from bakeoff.ops.selective_scan.triton_forward import input_of, locate, step_of, token
from bakeoff.ops.triton_math import sigmoid, silu_slope

LN2 = tl.constexpr(0.6931471805599453)


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

    Segments of SEGMENT chunks are walked from the last to the first. In each, the kernel first recomputes the state
    before every chunk in `scratch` from the stored one before the segment; then, chunk by chunk from the last, it
    recomputes the states of the chunk's tokens in registers. `carry` holds a g of the token after the stretch, and in
    the end that of the state before it. dA, dskip and dbias are sums over the stretch, dB and dC over the channels of
    the program.
    """
    stretch, b, first, last, d = locate(D, splits, per_split, chunks, D_BLOCK)
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
        before = states + (start // SEGMENT).to(tl.int64) * N * D
        for k in range(count - 1):
            dts, dtus = (), ()
            for i in tl.static_range(T):
                row, inside = token((start + k) * T + i, L, d, D, REVERSE)
                step, _ = step_of(dt, bias, row, inside, d, D, dt_t, SOFTPLUS)
                x = input_of(u, row, inside, d, u_t)
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
                row, inside = token(c * T + i, L, d, D, REVERSE)
                step, _ = step_of(dt, bias, row, inside, d, D, dt_t, SOFTPLUS)
                x = input_of(u, row, inside, d, u_t)
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
                row, inside = token(c * T + i, L, d, D, REVERSE)
                step, slope = step_of(dt, bias, row, inside, d, D, dt_t, SOFTPLUS)
                x = input_of(u, row, inside, d, u_t)
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
    """The gradient of the state before each stretch through that stretch alone: a_t (g + C_t dy_t), repeated."""
    stretch, b, first, last, d = locate(D, splits, per_split, chunks, D_BLOCK)
    dt, dy, Cp, carry = dt + b * dt_b, dy + b * dy_b, Cp + b * N * Q, carry + stretch * N * D
    if z is not None:
        z += b * z_b
    mask = (d < D)[None, :]
    for c in range(last - 1, first - 1, -1):
        dts, dys = (), ()
        for i in tl.static_range(T):
            row, inside = token(c * T + i, L, d, D, REVERSE)
            step, _ = step_of(dt, bias, row, inside, d, D, dt_t, SOFTPLUS)
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
