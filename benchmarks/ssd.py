"""Speed, memory and accuracy of the state space dual form and of the mixers around it on the CPU.

    python -m benchmarks.ssd [--json FILE] [--rounds 7]

Ratios are of medians within this one run, on one thread, CPU time, rivals interleaved. The peer, transformers'
Mamba2Mixer, comes with `pip install "bakeoff[bench]"`; without it its row says so. Its output is compared with ours
before anything is timed.

Shapes: B batch, L tokens, G groups, H heads, R ranks, N states, P channels a head.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from bakeoff.models.mixers import Attention, Mamba2, Mamba3
from bakeoff.ops import dispatch, ssd
from bakeoff.ops.ssd import reference
from benchmarks.row import Row
from benchmarks.table import print_table
from benchmarks.timing import medians_ms, peak_extra_mb


class Size(NamedTuple):
    B: int = 8
    L: int = 196
    G: int = 1
    H: int = 8
    R: int = 1
    N: int = 64
    P: int = 64

    def __str__(self) -> str:
        return " ".join(f"{name} {value}" for name, value in self._asdict().items())


MAIN = Size()
# Mamba-2; Mamba-3, where every head has its own queries and keys; short; long; few states, many; four ranks; odd heads.
SIZES = (
    MAIN,
    Size(G=8),
    Size(L=49),
    Size(B=2, L=784),
    Size(B=1, L=16_384, H=2),
    Size(N=16, P=32),
    Size(N=128),
    Size(L=98, G=4, H=4, R=4, P=32),
    Size(G=2, P=30),
)
LENGTHS = (49, 196, 784, 3136, 16_384)


def inputs(size: Size, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """q, k, v, log decays, w and g as in a fresh block: steps of about 0.05."""
    B, L, G, H, R, N, P = size
    g = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g)

    dt = 0.1 * torch.rand(B, L, H, generator=g)
    found = [
        normal(B, L, G, R, N),
        normal(B, L, G, R, N),
        normal(B, L, H, R, P),
        -dt * torch.arange(1.0, H + 1),
        dt,
        dt.clone(),
    ]
    return [x.to(dtype).requires_grad_() for x in found]


def plain(*x: Tensor) -> Tensor:
    q, k, v, a, w, g = x
    return reference.ssd(q, k, v, a, w, g, None, False, q.dtype)[0]


def train_step(call: Callable[..., Tensor], x: list[Tensor]) -> Callable[[], None]:
    """Forward and backward to every input."""
    grad = torch.ones_like(x[2])

    def step() -> None:
        torch.autograd.grad(call(*x), x, grad)

    return step


def products(size: Size, chunks: int = 0) -> tuple[int, int]:
    """Multiply-adds of the chunks' products forward and backward, triangles without what lies above the diagonal.

    With T rows of a chunk, of which tri = R^2 Q (Q + 1) / 2 pairs see each other: forward q k^T for each group, its
    product with v, and h q and the new h for each head; backward q k^T again, dy v^T, dv, dq and dk from the pairs, and
    the state's part in dv, dq, dk and dh. The first chunk has no state before it, the last none that is wanted. The
    number of chunks is that of the C++ kernels where none is given.
    """
    B, L, G, H, R, N, P = size
    if not chunks:
        assert dispatch.NATIVE is not None
        chunks = dispatch.NATIVE.ssd_chunks(L, R)
    Q = -(-L // chunks)
    pairs, states = R * R * Q * (Q + 1) // 2, Q * R * N * P * (chunks - 1)
    forward = chunks * pairs * (G * N + H * P) + 2 * H * states
    return B * forward, B * (chunks * pairs * (G * N + 2 * H * (P + N)) + 4 * H * states)


def against_plain_torch(rounds: int) -> Iterator[Row]:
    """The best of three lengths of plain PyTorch's chunks, chosen at each size."""
    for size in SIZES:
        x, longest = inputs(size), reference.LONGEST
        rivals = {"ours": train_step(ssd, x)}
        for rows in (32, 64, 128):
            rivals[f"{rows} rows"] = _with_chunks(rows, train_step(plain, x))
        ms = medians_ms(rivals, rounds)
        reference.LONGEST = longest
        best = min((name for name in ms if name != "ours"), key=ms.__getitem__)
        ratio = ms[best] / ms["ours"]
        detail = f"{ms['ours']:.1f} ms against {ms[best]:.1f} ms with chunks of {best}"
        bar = ("", None) if size != MAIN else (">= 3", ratio >= 3)
        yield Row(f"ssd fwd+bwd, times faster than plain PyTorch, {size}", ratio, "x", *bar, detail)


def _with_chunks(rows: int, step: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        reference.LONGEST = rows
        step()

    return run


def against_the_limit(rounds: int) -> Iterator[Row]:
    """The time that the products' multiply-adds alone would need, at the rate a probe measures in the same rounds."""
    if dispatch.NATIVE is None:
        yield Row("ssd over the multiply-add limit", None, "x", "<= 2", None, "native kernels not built")
        return
    native, probe_rounds = dispatch.NATIVE, 1_000_000
    in_use = native.active()
    for isa in native.instruction_sets()[1:]:
        native.use(isa)
        for size in SIZES:
            x = inputs(size)
            rivals: dict[str, Callable[[], object]] = {
                "forward": torch.no_grad()(lambda x=x: ssd(*x)),
                "both": train_step(ssd, x),
                "probe": lambda: native.probe(probe_rounds),
            }
            ms = medians_ms(rivals, 2 * rounds)
            per_ms = native.probe(1) * probe_rounds / ms["probe"]
            forward, backward = products(size)
            ratio = ms["both"] / ((forward + backward) / per_ms)
            detail = (
                f"{ms['both']:.1f} ms, limit {(forward + backward) / per_ms:.1f} ms at {per_ms / 1e6:.0f} G "
                f"multiply-adds/s; forward alone {ms['forward']:.1f} ms, {ms['forward'] * per_ms / forward:.2f}x"
            )
            bar = ("", None) if size != MAIN else ("<= 2", ratio <= 2)
            yield Row(f"ssd fwd+bwd over the multiply-add limit of {isa}, {size}", ratio, "x", *bar, detail)
    native.use(in_use)


def lengths(rounds: int) -> Iterator[Row]:
    """As many tokens at each length, so that a call's fixed cost weighs alike, in two samples of four heads at least.

    With fewer, a group's heads are shared out among work items. A short sequence has less to do: its first chunk has no
    state before it.
    """
    longest = LENGTHS[-1]
    sizes = {tokens: Size(B=2 * longest // tokens, L=tokens, H=4, P=32) for tokens in LENGTHS}
    ms = medians_ms({str(tokens): train_step(ssd, inputs(size)) for tokens, size in sizes.items()}, rounds)
    us = {tokens: 1e3 * ms[str(tokens)] / (size.B * tokens) for tokens, size in sizes.items()}
    flat = [value for tokens, value in us.items() if tokens >= 196]
    spread = max(flat) / min(flat)
    work = {tokens: sum(products(size)) / (size.B * tokens) for tokens, size in sizes.items()}
    more = work[longest] / work[196]
    detail = ", ".join(f"L {tokens}: {value:.2f} us" for tokens, value in us.items())
    detail += f"; multiply-adds per token at L {longest} over those at L 196: {more:.2f}"
    yield Row("time per token, slowest over fastest from L 196 on", spread, "x", "<= 1.1", spread <= 1.1, detail)


def memory(_: int) -> Iterator[Row]:
    statement = """
import torch
torch.set_num_threads(1)
from benchmarks.ssd import Size, inputs, ssd, train_step
train_step(ssd, inputs(Size(B=1, L=2, H=1, N=8, P=8)))()
work = train_step(ssd, inputs(Size(L={L})))
"""
    extra = peak_extra_mb(statement.format(L=MAIN.L))
    yield Row(f"memory above the inputs, fwd+bwd, {MAIN}", extra, "MB")
    growth = peak_extra_mb(statement.format(L=4 * MAIN.L)) / extra
    yield Row("the same at four times the tokens, ratio", growth, "x", "<= 4.4", growth <= 4.4)


def accuracy(_: int) -> Iterator[Row]:
    names = ("y", "q", "k", "v", "log decay", "w", "g")
    for size in (*SIZES, Size(B=2, L=1), Size(B=2, L=65, N=33, P=17)):
        results = []
        for call, dtype in ((ssd, torch.float32), (plain, torch.float64)):
            x = inputs(size, dtype)
            y = call(*x)
            g = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
            results.append((y.detach(), *torch.autograd.grad(y, x, g)))
        errors = {
            name: ((ours.double() - exact).norm() / exact.norm().clamp_min(1e-30)).item()
            for name, ours, exact in zip(names, *results, strict=True)
        }
        worst = max(errors.values())
        detail = ", ".join(f"{name} {error:.0e}" for name, error in errors.items())
        yield Row(f"worst relative L2 error against float64, {size}", worst, "", "<= 5e-6", worst <= 5e-6, detail)


def against_transformers(rounds: int) -> Iterator[Row]:
    name, bar = "whole mixer fwd+bwd, times faster than transformers' Mamba2Mixer", ">= 10"
    try:
        from transformers import Mamba2Config  # pyright: ignore[reportMissingImports]
        from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        yield Row(name, None, "x", bar, None, f'not installed ({error}): pip install "bakeoff[bench]"')
        return
    D, size = 128, MAIN._replace(P=32)
    sizes: dict[str, Any] = {"num_heads": size.H, "head_dim": size.P, "hidden_size": D, "state_size": size.N}
    x = torch.randn(size.B, size.L, D, generator=torch.Generator().manual_seed(0))
    ours = Mamba2(D, size.H * size.P, d_state=size.N, heads=size.H)
    rivals, error = {"ours": _module_step(ours, x)}, 0.0
    for chunk in (256, 64):  # its default, and the best of plain PyTorch's above
        config = Mamba2Config(**sizes, expand=2, n_groups=1, conv_kernel=4, chunk_size=chunk, use_bias=False)
        peer = Mamba2Mixer(config, layer_idx=0).train()
        peer.load_state_dict(ours.state_dict())
        with torch.no_grad():
            error = max(error, ((peer(x) - ours(x)).norm() / ours(x).norm()).item())
        rivals[f"chunks of {chunk}"] = _module_step(peer, x)
    if error > 1e-4:
        raise SystemExit(f"transformers' Mamba2Mixer and ours differ by {error:.1e} in their outputs; nothing is timed")
    ms = medians_ms(rivals, rounds)
    for peer_name in list(rivals)[1:]:
        ratio = ms[peer_name] / ms["ours"]
        detail = f"{ms['ours']:.1f} ms against {ms[peer_name]:.0f} ms, D {D}, {size}; outputs agree within {error:.0e}"
        yield Row(f"{name} with {peer_name}", ratio, "x", bar, ratio >= 10, detail)


def around_products(rounds: int) -> Iterator[Row]:
    """Whole mixers against themselves with plain PyTorch for what stands before and behind scan or scores."""
    D, generator = 96, torch.Generator().manual_seed(0)
    x = torch.randn(64, 49, D, generator=generator)
    for name, mixer in (
        ("Mamba-2", Mamba2(D, 2 * D, d_state=32, heads=4)),
        ("Mamba-3", Mamba3(D, 2 * D, d_state=32, heads=4)),
        ("Mamba-3, 4 ranks", Mamba3(D, 2 * D, d_state=32, heads=4, rank=4)),
        ("Attention, normed and turned", Attention(D, D, heads=4, qk_norm=True, rope=True)),
    ):
        step = _module_step(mixer, x)
        ms = medians_ms({"ours": step, "plain": _plain_around(step)}, rounds)
        ratio = ms["plain"] / ms["ours"]
        detail = f"{ms['ours']:.1f} ms against {ms['plain']:.1f} ms, B 64 L 49 D {D} N 32, 4 heads"
        yield Row(f"{name} fwd+bwd, times faster than with plain PyTorch around products", ratio, "x", detail=detail)


def _plain_around(step: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with ExitStack() as stack:
            for module in ("gate", "heads", "ranks", "turn"):
                stack.enter_context(patch(f"bakeoff.ops.fused.{module}.serves", return_value=False))
            step()

    return run


def _module_step(module: torch.nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward and backward to the input and every parameter."""
    wanted = [x.clone().requires_grad_(), *module.parameters()]

    def step() -> None:
        y = module(wanted[0])
        torch.autograd.grad(y, wanted, torch.ones_like(y))

    return step


SECTIONS = (against_plain_torch, against_the_limit, against_transformers, around_products, lengths, memory, accuracy)

if __name__ == "__main__":
    print_table(__doc__ or "", SECTIONS)
