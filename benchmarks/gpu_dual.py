"""What the GPU benchmark measures of the state space dual form: right or not, how fast, and with which tiles.

Shapes: B batch, L tokens, G groups, H heads, R ranks, N states, P channels a head.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_correctness import TOLERANCE, Call, errors, row
from benchmarks.gpu_sections import Bench
from benchmarks.gpu_timing import copy_bandwidth, medians_ms, peak_mib
from benchmarks.row import Row
from benchmarks.ssd import Size, inputs, products

NAMES: tuple[str, ...] = ("q", "k", "v", "log decay", "w", "g")
SIDE = 8192  # of the product whose rate is the floor's


def _inputs(bench: Bench, size: Size, dtype: torch.dtype) -> list[Tensor]:
    """As on the CPU; q, k and v in dtype."""
    made = [x.detach().to(bench.device) for x in inputs(size)]
    return [x.to(dtype if i < 3 else x.dtype).requires_grad_() for i, x in enumerate(made)]


def correctness(bench: Bench) -> Iterator[Row]:
    """Outputs and gradients at every size and in every dtype, whole, reversed, and with a state in and out."""
    from bakeoff.ops import ssd
    from bakeoff.ops.ssd import reference

    ours: Callable[..., Any] = ssd
    plain: Callable[..., Any] = reference.ssd

    def ways(size: Size, given: list[Tensor], reverse: bool) -> Iterator[tuple[str, Call, Call, dict[str, Tensor]]]:
        whole = dict(zip(NAMES, given, strict=True))
        yield (
            "",
            lambda *x: [ours(*x, reverse=reverse)],
            lambda *x: [plain(*x, None, reverse, x[0].dtype)[0]],
            whole,
        )
        generator = torch.Generator(bench.device).manual_seed(3)
        state = torch.randn(size.B, size.H, size.P, size.N, generator=generator, device=bench.device)
        yield (
            ", state in and out",
            lambda *x: ours(*x[:-1], initial_state_BHPN=x[-1], return_final_state=True, reverse=reverse),
            lambda *x: plain(*x, reverse, x[0].dtype),
            {**whole, "state": state},
        )

    for kind in bench.sizes.dtypes:
        dtype, tolerance = getattr(torch, kind), TOLERANCE[kind]
        for shape in bench.sizes.exact_dual:
            size = Size(*shape)
            for reverse in (False, True):
                for way, call, exact, given in ways(size, _inputs(bench, size, dtype), reverse):
                    outputs = ("y", "final") if "state" in given else ("y",)
                    name = f"ssd {kind} {size}{way}{', reversed' if reverse else ''}"
                    yield row(name, errors(call, exact, given, outputs), tolerance)


def speed(bench: Bench) -> Iterator[Row]:
    """Forward with backward in bfloat16, against two floors and mamba-ssm's Triton kernels.

    The floors: bytes that must move over the bandwidth of a copy, and the chunks' multiply-adds over the rate that a
    large product of TF32 reaches in this run.
    """
    from bakeoff.ops import ssd
    from bakeoff.ops.ssd import triton_launch

    bandwidth, rate = copy_bandwidth(bench.device), _product_rate(bench)
    bench.notes.append(f"a product of TF32, {SIDE} a side, reaches {2 * rate / 1e12:.0f} TFLOP/s")
    theirs = _mamba_ssm(bench)
    for shape in bench.sizes.dual:
        size = Size(*shape)
        x = _inputs(bench, size, torch.bfloat16)
        dy = torch.randn_like(x[2])
        works: dict[str, Callable[[], object]] = {
            "forward": torch.no_grad()(lambda x=x: ssd(*x)),
            "both": lambda x=x, dy=dy: torch.autograd.grad(ssd(*x), x, dy),
        }
        if theirs is not None and size.R == 1:
            rival = theirs(x)
            apart = (ssd(*x).squeeze(3).float() - rival().float()).norm() / ssd(*x).float().norm()
            if apart > TOLERANCE["bfloat16"]:
                bench.notes.append(f"mamba-ssm's Mamba-2 differs by {apart:.0e} at {size}: it is not timed")
            else:
                works["theirs"] = lambda x=x, rival=rival, dy=dy: torch.autograd.grad(rival(), x[:5], dy.squeeze(3))
        ms = medians_ms(works, bench.device)
        moved = size.B * size.L * (2 * size.R * (6 * size.G * size.N + 5 * size.H * size.P) + 4 * 9 * size.H)
        chunks = -(-size.L * size.R // triton_launch.ROWS)
        floor = 1e3 * max(moved / bandwidth, sum(products(size, chunks)) / rate)
        detail = (
            f"forward {ms['forward']:.3f} ms; floor {floor:.3f} ms; "
            f"{peak_mib(works['both'], bench.device):.0f} MiB above the inputs"
        )
        yield Row(f"fwd+bwd bf16 {size}", ms["both"], "ms", detail=detail)
        share = floor / ms["both"]
        yield Row(f"  share of the floor, {size}", share, "", ">= 0.4", share >= 0.4)
        if "theirs" in ms:
            ratio = ms["theirs"] / ms["both"]
            at = f"{ms['theirs']:.3f} ms"
            yield Row(f"  times faster than mamba-ssm's Triton Mamba-2, {size}", ratio, "x", ">= 1", ratio >= 1, at)


def _product_rate(bench: Bench) -> float:
    """Multiply-adds a second of a large product of float32 in TF32."""
    side = SIDE if bench.device.type == "cuda" else 64
    a = torch.randn(side, side, device=bench.device)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        return side**3 / (1e-3 * medians_ms({"product": lambda: a @ a}, bench.device)["product"])
    finally:
        torch.set_float32_matmul_precision(before)


def _mamba_ssm(bench: Bench) -> Callable[[list[Tensor]], Callable[[], Tensor]] | None:
    """mamba-ssm's Mamba-2 on our inputs, of one rank: dt is w, and A what the log decay is of it."""
    try:
        from mamba_ssm.ops.triton.ssd_combined import (  # pyright: ignore[reportMissingImports]
            mamba_chunk_scan_combined,
        )
    except Exception as error:  # a build for another torch fails in its own ways
        bench.notes.append(f"mamba-ssm's Mamba-2 is not here ({type(error).__name__}): pip install mamba-ssm")
        return None

    def on(x: list[Tensor]) -> Callable[[], Tensor]:
        q, k, v, decay, w, _ = x
        A = (decay / w).detach()[0, 0].contiguous()  # the same at every token, as in a fresh block
        # The decays have their gradient through w there; ours is asked for on its own, and theirs is none.
        return lambda: mamba_chunk_scan_combined(v.squeeze(3), w, A, k.squeeze(3), q.squeeze(3), 256) + 0 * decay.sum()

    return on


def tune(bench: Bench) -> Iterator[Row]:
    """Other tiles and chunks at the first size; the fastest are left in force for what follows."""
    from bakeoff.ops import ssd
    from bakeoff.ops.ssd import triton_launch

    x = _inputs(bench, Size(*bench.sizes.dual[0]), torch.bfloat16)
    dy = torch.randn_like(x[2])
    works: dict[str, Callable[[], object]] = {
        "forward": torch.no_grad()(lambda: ssd(*x)),
        "both": lambda: torch.autograd.grad(ssd(*x), x, dy),
    }
    tiles = {
        "ROWS": (64, 32, 128),
        "SUMS": ((64, 32, 4), (64, 64, 4), (64, 64, 8), (32, 32, 4), (128, 32, 8)),
        "OUTPUTS": ((64, 32, 8), (64, 64, 8), (64, 32, 4), (32, 32, 4), (128, 32, 8)),
        "VALUES": ((32, 32, 8), (64, 32, 8), (64, 64, 8), (32, 32, 4)),
        "GRADIENTS": ((32, 16, 8), (32, 32, 8), (64, 32, 8), (32, 16, 4), (16, 16, 8)),
    }
    for which, candidates in tiles.items():
        work = works["forward" if which in ("SUMS", "OUTPUTS") else "both"]
        kind: Callable[[Any], Any] = (lambda one: one) if which == "ROWS" else (lambda one: triton_launch.Tile(*one))
        times = {}
        for candidate in candidates:
            setattr(triton_launch, which, kind(candidate))
            try:
                times[candidate] = medians_ms({"": work}, bench.device)[""]
                yield Row(f"{which} {candidate}", times[candidate], "ms")
            except Exception as error:
                yield Row(f"{which} {candidate}", None, "ms", detail=f"{type(error).__name__}: {error}"[:200])
        best = min(times, key=lambda one: times[one], default=candidates[0])
        setattr(triton_launch, which, kind(best))
        bench.notes.append(f"ssd: {which} in force: {best}")
