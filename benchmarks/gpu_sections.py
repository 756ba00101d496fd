"""What the GPU benchmark measures of the kernels and the blocks, a section each; and at which sizes.

Shapes: B batch, L tokens, D channels, N states, H heads.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from benchmarks.gpu_timing import copy_bandwidth, exponentials_per_s, medians_ms, peak_mib
from benchmarks.row import Row


@dataclass(frozen=True)
class Sizes:
    """What to run on a card, or as a toy."""

    exact: tuple[tuple[int, int, int, int], ...] = (
        (4, 196, 256, 64),
        (2, 1, 70, 16),
        (2, 15, 33, 128),
        (1, 1500, 64, 40),  # scanned in parallel stretches
    )
    exact_dual: tuple[tuple[int, ...], ...] = (  # B, L, G, H, R, N, P
        (2, 196, 1, 4, 1, 64, 64),
        (2, 65, 4, 4, 1, 33, 17),
        (1, 1, 1, 2, 1, 16, 64),
        (1, 50, 2, 4, 4, 64, 32),
        (1, 1500, 1, 2, 1, 128, 64),
    )
    dual: tuple[tuple[int, ...], ...] = (
        (256, 196, 1, 8, 1, 64, 64),
        (256, 196, 8, 8, 1, 64, 64),  # Mamba-3: every head has its own queries and keys
        (256, 49, 1, 8, 1, 64, 64),
        (16, 3136, 1, 8, 1, 64, 64),
        (1, 65_536, 1, 8, 1, 64, 64),
        (256, 196, 1, 8, 1, 128, 64),
        (128, 98, 4, 4, 4, 64, 64),
    )
    scan: tuple[tuple[int, int, int, int], ...] = (
        (256, 196, 256, 64),
        (256, 196, 512, 64),
        (256, 49, 512, 64),
        (64, 784, 512, 64),
        (16, 3136, 512, 64),
        (4, 16_384, 512, 64),
        (1, 65_536, 512, 64),
    )
    tokens: int = 65_536
    lengths: tuple[int, ...] = (49, 196, 784, 3136, 16_384, 65_536)
    d_model: int = 256
    d_state: int = 64
    preset: str = "mnist-paper"
    overrides: tuple[str, ...] = ()
    steps: int = 20
    dtypes: tuple[str, ...] = ("float32", "bfloat16", "float16")


TOY = Sizes(
    exact=((1, 15, 5, 3),),
    exact_dual=((1, 9, 1, 2, 1, 5, 3),),
    dual=((1, 8, 1, 2, 1, 4, 4),),
    scan=((1, 8, 8, 4),),
    tokens=8,
    lengths=(4, 8),
    d_model=16,
    d_state=4,
    preset="smoke",
    overrides=(
        "training.batch=2",
        "task.train_images=4",
        "mixers.mamba.d_state=4",
        "sampling.count=2",
        "sampling.steps=1",
    ),
    steps=1,
)


@dataclass
class Bench:
    sizes: Sizes
    device: torch.device
    notes: list[str] = field(default_factory=list)

    def inputs(self, B: int, L: int, D: int, N: int, dtype: torch.dtype) -> list[Tensor]:
        """u, dt, A, B, C, D, z and dt's bias as in a fresh Mamba block; the sequences in dtype."""
        g = torch.Generator(self.device).manual_seed(B + L)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=g, device=self.device)

        A = -torch.arange(1, N + 1.0, device=self.device).expand(D, N).contiguous()
        u, dt, z = (normal(B, L, D).to(dtype) for _ in range(3))
        Bm, Cm = (normal(B, L, N).to(dtype) for _ in range(2))
        inputs = [u, dt, A, Bm, Cm, torch.ones(D, device=self.device), z, normal(D) - 4.0]
        return [x.requires_grad_() for x in inputs]


def scan(bench: Bench) -> Iterator[Row]:
    """Forward, and forward with backward, in bfloat16, against the floors and mamba-ssm's CUDA kernel."""
    from bakeoff.ops import selective_scan

    bandwidth, exponentials = copy_bandwidth(bench.device), exponentials_per_s(bench.device)
    bench.notes.append(
        f"a copy moves {bandwidth / 1e12:.2f} TB/s; {exponentials / 1e12:.2f} T exponentials/s at the top clock"
    )
    rival = _mamba_ssm_scan(bench)
    for shape in bench.sizes.scan:
        B, L, D, N = shape
        inputs = bench.inputs(*shape, torch.bfloat16)
        dy = torch.randn_like(inputs[0])
        works = {
            "forward": torch.no_grad()(lambda x=inputs: selective_scan(*x)),
            "both": lambda x=inputs, dy=dy: torch.autograd.grad(selective_scan(*x), x, dy),
        }
        if rival:
            theirs = _for_mamba_ssm(inputs)
            dy_BDL = dy.transpose(1, 2).contiguous()
            works["theirs"] = lambda x=theirs, dy=dy_BDL: torch.autograd.grad(rival(*x), x, dy)
        ms = medians_ms(works, bench.device)
        # u, dt, z read and y written; again with dy and the gradients of the three; B and C weigh N / D of that
        moved = B * L * 2 * (11 * D + 6 * N)
        floor = 1e3 * max(moved / bandwidth, 2 * B * L * D * N / exponentials)
        ratio = ms["theirs"] / ms["both"] if rival else None
        share = floor / ms["both"]
        peak = peak_mib(works["both"], bench.device)
        detail = f"forward {ms['forward']:.3f} ms; floor {floor:.3f} ms; {peak:.0f} MiB above the inputs"
        yield Row(f"fwd+bwd bf16 B {B} L {L} D {D} N {N}", ms["both"], "ms", detail=detail)
        yield Row(f"  share of the floor, L {L} D {D}", share, "", ">= 0.4", share >= 0.4)
        if ratio:
            at = f"{ms['theirs']:.3f} ms"
            yield Row(f"  times faster than mamba-ssm's CUDA scan, L {L} D {D}", ratio, "x", ">= 1", ratio >= 1, at)


def _mamba_ssm_scan(bench: Bench) -> Callable | None:
    try:
        from mamba_ssm.ops.selective_scan_interface import (  # pyright: ignore[reportMissingImports]
            selective_scan_fn,
        )
    except Exception as error:  # a build for another torch fails in its own ways
        bench.notes.append(f"mamba-ssm is not here ({type(error).__name__}: {error}): pip install mamba-ssm")
        return None

    def call(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, bias: Tensor) -> Tensor:
        return selective_scan_fn(u, dt, A, B, C, D, z, bias, delta_softplus=True)

    return call


def _for_mamba_ssm(inputs: list[Tensor]) -> list[Tensor]:
    """The same values as it takes them: sequences (B, D, L), in memory too."""
    return [(x.detach().transpose(1, 2).contiguous() if x.dim() == 3 else x.detach()).requires_grad_() for x in inputs]


def blocks(bench: Bench) -> Iterator[Row]:
    """A block each of Mamba, attention with MLP, and both in turn, at constant tokens; bfloat16 autocast."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from benchmarks.scan import MambaBlock, TransformerBlock, module_step

    d, device = bench.sizes.d_model, bench.device

    def under_autocast(work: Callable[[], object]) -> Callable[[], object]:
        def step() -> None:
            kernels = [SDPBackend.FLASH_ATTENTION] if device.type == "cuda" else [SDPBackend.MATH]
            with torch.autocast(device.type, torch.bfloat16), sdpa_kernel(kernels):
                work()

        return step

    modules: dict[str, nn.Module] = {
        "mamba": MambaBlock(d, bench.sizes.d_state).to(device),
        "attention": TransformerBlock(d, 4).to(device),
        "hybrid": nn.Sequential(MambaBlock(d, bench.sizes.d_state), TransformerBlock(d, 4)).to(device),
    }
    ratios: dict[str, dict[int, float]] = {"forward": {}, "training": {}}
    for L in bench.sizes.lengths:
        B = max(1, bench.sizes.tokens // L)
        x = torch.randn(B, L, d, device=device)
        for direction, found in ratios.items():
            if direction == "forward":
                works = {name: torch.no_grad()(lambda m=module, x=x: m(x)) for name, module in modules.items()}
            else:
                works = {name: module_step(module, x) for name, module in modules.items()}
            ms = medians_ms({name: under_autocast(work) for name, work in works.items()}, device)
            found[L] = ms["mamba"] / ms["attention"]
            for name, value in ms.items():
                per_token = f"{1e3 * value / (B * L):.3f} us a token; {value / ms['attention']:.2f} of attention's time"
                yield Row(f"{name} d_model {d}, B {B} L {L}, {direction}", value, "ms", detail=per_token)
    mamba, attention = (sum(p.numel() for p in modules[name].parameters()) for name in ("mamba", "attention"))
    for direction, found in ratios.items():
        for versus, scale in (("block against block", 1.0), ("at equal parameters", attention / mamba)):
            tokens = crossover({L: scale * ratio for L, ratio in found.items()})
            detail = f"{'' if tokens else 'none '}of {', '.join(map(str, found))}; Mamba's time taken {scale:.2f} times"
            yield Row(
                f"tokens from which Mamba is faster than attention, {direction}, {versus}",
                tokens,
                "",
                detail=detail,
            )


def crossover(ratios: dict[int, float]) -> int | None:
    """The fewest tokens from which on every ratio, of Mamba's time to attention's, is below one; None if none is."""
    longest_slower = max((L for L, ratio in ratios.items() if ratio >= 1), default=0)
    return min((L for L in ratios if longest_slower < L), default=None)


def tune(bench: Bench) -> Iterator[Row]:
    """Other tiles of the scan at the first size; the fastest are left in force for what follows."""
    from bakeoff.ops import selective_scan
    from bakeoff.ops.selective_scan import triton_launch

    inputs = bench.inputs(*bench.sizes.scan[0], torch.bfloat16)
    dy = torch.randn_like(inputs[0])
    works = {
        "FORWARD": torch.no_grad()(lambda: selective_scan(*inputs)),
        "BACKWARD": lambda: torch.autograd.grad(selective_scan(*inputs), inputs, dy),
    }
    tiles = {
        "FORWARD": ((1, 64, 14, 1), (1, 128, 7, 1), (1, 64, 7, 1), (4, 128, 7, 4), (2, 64, 14, 2), (1, 32, 14, 1)),
        "BACKWARD": ((1, 128, 7, 1), (1, 64, 7, 1), (1, 128, 2, 1), (1, 256, 2, 1), (2, 128, 7, 2), (4, 128, 7, 4)),
    }
    for which, candidates in tiles.items():
        times = {}
        for candidate in candidates:
            setattr(triton_launch, which, triton_launch.Tile(*candidate))
            try:
                times[candidate] = medians_ms({"": works[which]}, bench.device)[""]
                yield Row(f"{which} {candidate}", times[candidate], "ms")
            except Exception as error:
                yield Row(f"{which} {candidate}", None, "ms", detail=f"{type(error).__name__}: {error}"[:200])
        best = min(times, key=lambda one: times[one])
        setattr(triton_launch, which, triton_launch.Tile(*best))
        bench.notes.append(f"{which} tile in force: {best}")
