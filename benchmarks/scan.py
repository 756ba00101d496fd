"""Speed, memory and accuracy of the selective scan and of the Mamba mixer on the CPU.

    python -m benchmarks.scan [--json FILE] [--rounds 7]

Ratios are of medians within this one run, on one thread, CPU time, rivals interleaved. The peers
(transformers' MambaMixer with mambapy) come with `pip install "bakeoff[bench]"`; without them their row
says so.

Shapes: B batch, L tokens, D channels, N states.
"""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bakeoff.models.mixers import Mamba
from bakeoff.ops import dispatch, selective_scan
from bakeoff.ops.selective_scan import reference
from benchmarks.row import Row
from benchmarks.table import print_table
from benchmarks.timing import medians_ms, peak_extra_mb

B, L, D, N = 8, 196, 256, 64
D_MODEL = 128
# Instructions on the multiply-add ports per vector of states and token: forward 9 (the product dt A, five for
# exp2, two for h, one for y), backward 16 (eight to make a and h again, eight for the gradients).
FORWARD_OPS, BACKWARD_OPS = 9, 16


def scan_inputs(B: int, L: int, D: int, N: int) -> list[Tensor]:
    """u, dt, A, B, C, D, z and dt's bias as in a fresh Mamba block."""
    g = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g)

    A = -torch.arange(1, N + 1.0).expand(D, N).contiguous()
    inputs = [normal(B, L, D), normal(B, L, D), A, normal(B, L, N), normal(B, L, N), torch.ones(D)]
    inputs += [normal(B, L, D), normal(D) - 4.0]
    return [x.requires_grad_() for x in inputs]


def train_step(call: Callable[..., Tensor], inputs: list[Tensor]) -> Callable[[], None]:
    """Forward and backward to every input."""
    grad = torch.ones_like(inputs[0])

    def step() -> None:
        torch.autograd.grad(call(*inputs), inputs, grad)

    return step


def module_step(module: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward and backward to the input and every parameter."""
    wanted = [x.requires_grad_(), *module.parameters()]

    def step() -> None:
        y = module(x)
        torch.autograd.grad(y, wanted, torch.ones_like(y), allow_unused=True)

    return step


def loop(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, dt_bias: Tensor) -> Tensor:
    return reference.selective_scan(u, dt, A, B, C, D, z, dt_bias, None, dt_softplus=True, reverse=False)[0]


def against_the_loop(rounds: int) -> Iterator[Row]:
    inputs = scan_inputs(B, L, D, N)
    ms = medians_ms({"ours": train_step(selective_scan, inputs), "loop": train_step(loop, inputs)}, rounds)
    ratio = ms["loop"] / ms["ours"]
    detail = f"{ms['ours']:.1f} ms against {ms['loop']:.0f} ms"
    yield Row("scan fwd+bwd, times faster than the best plain loop", ratio, "x", ">= 8", ratio >= 8, detail)


def against_the_limit(rounds: int) -> Iterator[Row]:
    """The time the multiply-add ports alone would need, at the rate a probe measures in the same rounds."""
    if dispatch.NATIVE is None:
        yield Row("scan over the multiply-add limit", None, "x", "<= 1.8", None, "native kernels not built")
        return
    native, probe_rounds = dispatch.NATIVE, 1_000_000
    in_use = native.active()
    for isa, (states, bar) in product(native.instruction_sets()[1:], ((N, 1.8), (16, 2.2))):
        native.use(isa)
        inputs = scan_inputs(B, L, D, states)
        rivals = {
            "forward": torch.no_grad()(lambda inputs=inputs: selective_scan(*inputs)),
            "both": train_step(selective_scan, inputs),
            "probe": lambda: native.probe(probe_rounds),
        }
        ms = medians_ms(rivals, 4 * rounds)
        per_ms = native.probe(1) * probe_rounds / ms["probe"]
        forward = B * L * D * states * FORWARD_OPS / per_ms
        both = B * L * D * states * (FORWARD_OPS + BACKWARD_OPS) / per_ms
        ratio = ms["both"] / both
        detail = (
            f"{ms['both']:.1f} ms, limit {both:.1f} ms at {per_ms / 1e6:.0f} G multiply-adds/s; "
            f"forward alone {ms['forward']:.1f} ms, {ms['forward'] / forward:.2f}x"
        )
        name = f"scan fwd+bwd over the multiply-add limit of {isa}, N {states}"
        yield Row(name, ratio, "x", f"<= {bar}", ratio <= bar, detail)
    native.use(in_use)


def accuracy(_: int) -> Iterator[Row]:
    names = ("u", "dt", "A", "B", "C", "D", "z", "dt bias")
    for sizes in ((B, L, D, N), (2, 1, 8, 16), (2, 15, 70, 33), (1, 3136, 32, 16)):
        errors = {}
        results = []
        for call, dtype in ((selective_scan, torch.float32), (loop, torch.float64)):
            inputs = [x.detach().to(dtype).requires_grad_() for x in scan_inputs(*sizes)]
            y = call(*inputs)
            g = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
            results.append((y.detach(), *torch.autograd.grad(y, inputs, g)))
        for name, x, exact in zip(("y", *names), *results, strict=True):
            errors[name] = ((x.double() - exact).norm() / exact.norm().clamp_min(1e-30)).item()
        worst = max(errors.values())
        detail = ", ".join(f"{k} {v:.0e}" for k, v in errors.items())
        label = "worst relative L2 error against float64, B {} L {} D {} N {}".format(*sizes)
        yield Row(label, worst, "", "<= 2e-6", worst <= 2e-6, detail)


def memory(_: int) -> Iterator[Row]:
    statement = f"""
import torch
torch.set_num_threads(1)
from benchmarks.scan import scan_inputs, train_step, selective_scan
train_step(selective_scan, scan_inputs(1, 2, 8, 8))()
inputs = scan_inputs({B}, {{L}}, {D}, {N})
work = train_step(selective_scan, inputs)
"""
    extra = peak_extra_mb(statement.format(L=L))
    yield Row("memory above the inputs, scan fwd+bwd", extra, "MB", "<= 100", extra <= 100)
    growth = peak_extra_mb(statement.format(L=4 * L)) / extra
    yield Row("the same at four times the tokens, ratio", growth, "x", "<= 4.4", growth <= 4.4)


def lengths(rounds: int) -> Iterator[Row]:
    sizes = ((16, 196), (4, 784), (1, 3136))
    rivals = {f"L {tokens}": train_step(selective_scan, scan_inputs(b, tokens, D, N)) for b, tokens in sizes}
    ms = medians_ms(rivals, rounds)
    spread = max(ms.values()) / min(ms.values())
    detail = ", ".join(f"{k}: {v / 3.136:.2f} us" for k, v in ms.items())
    name = "time per token, slowest over fastest of three lengths, B L = 3136"
    yield Row(name, spread, "x", "<= 1.1", spread <= 1.1, detail)


def seconds_of_probes(count: int) -> float:
    """The wall clock for one probe of the multiply-add rate on each of `count` threads, 0 without the kernels."""
    if dispatch.NATIVE is None:
        return 0.0
    probes = [threading.Thread(target=dispatch.NATIVE.probe, args=(1_000_000,)) for _ in range(count)]
    start = time.perf_counter()
    for probe in probes:
        probe.start()
    for probe in probes:
        probe.join()
    return time.perf_counter() - start


def threads(rounds: int) -> Iterator[Row]:
    """By the wall clock, in turns of a step that does not count and three that do, as in training: back to back.

    Beside it what two threads can give here and now: probes in registers alone, right after.
    """
    step = train_step(selective_scan, scan_inputs(B, L, D, N))
    ms: dict[int, list[float]] = {1: [], 2: []}
    probes: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3 * rounds):
        for count, times in ms.items():
            torch.set_num_threads(count)
            step()
            for _ in range(3):
                start = time.perf_counter()
                step()
                times.append(1e3 * (time.perf_counter() - start))
    torch.set_num_threads(1)
    for _ in range(rounds):
        for count, times in probes.items():
            times.append(seconds_of_probes(count))
    one, two = (statistics.median(times) for times in ms.values())
    alone, both = (statistics.median(times) for times in probes.values())
    ceiling = f", where multiply-adds alone gain {2 * alone / both:.2f}x" if both else ""
    detail = f"{one:.1f} ms and {two:.1f} ms, wall clock: needs two idle cores{ceiling}"
    yield Row("two threads, times faster than one", one / two, "x", ">= 1.8", one / two >= 1.8, detail)


def against_transformers(rounds: int) -> Iterator[Row]:
    name, bar = "whole mixer fwd+bwd, times faster than transformers' MambaMixer with mambapy", ">= 40"
    try:
        import mambapy  # noqa: F401  # pyright: ignore[reportMissingImports]
        from transformers import MambaConfig  # pyright: ignore[reportMissingImports]
        from transformers.models.mamba.modeling_mamba import MambaMixer  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        yield Row(name, None, "x", bar, None, f'not installed ({error}): pip install "bakeoff[bench]"')
        return
    config = MambaConfig(hidden_size=D_MODEL, state_size=N, expand=D // D_MODEL, use_mambapy=True)
    x = torch.randn(B, L, D_MODEL)
    peer = MambaMixer(config, layer_idx=0).train()
    ms = medians_ms({"ours": module_step(Mamba(D_MODEL, D, d_state=N), x), "peer": module_step(peer, x)}, 2)
    ratio = ms["peer"] / ms["ours"]
    yield Row(name, ratio, "x", bar, ratio >= 40, f"{ms['ours']:.1f} ms against {ms['peer']:.0f} ms")


class TransformerBlock(nn.Module):
    """Norm, attention by scaled_dot_product_attention, norm, MLP of four times the width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x_BLD)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x_BLD = x_BLD + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x_BLD + self.down(F.gelu(self.up(self.norm2(x_BLD))))


class MambaBlock(nn.Module):
    """Norm and mixer. One such block has about half the parameters of a Transformer block."""

    def __init__(self, width: int, d_state: int) -> None:
        super().__init__()
        self.norm, self.mixer = nn.LayerNorm(width), Mamba(width, 2 * width, d_state=d_state)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return x_BLD + self.mixer(self.norm(x_BLD))


def against_a_transformer(rounds: int) -> Iterator[Row]:
    for b, tokens in ((16, 196), (4, 784), (1, 3136)):
        x = torch.randn(b, tokens, D_MODEL)
        rivals = {f"Mamba N {n}": module_step(MambaBlock(D_MODEL, n), x) for n in (16, N)}
        rivals["Transformer"] = module_step(TransformerBlock(D_MODEL, 4), x)
        ms = medians_ms(rivals, rounds)
        detail = ", ".join(f"{k}: {v / tokens / b * 1e3:.2f} us/token" for k, v in ms.items())
        ratio = ms["Mamba N 16"] / ms["Transformer"]
        name = f"Mamba block (N 16) over Transformer block, width {D_MODEL}, L {tokens}"
        yield Row(name, ratio, "x", detail=detail)


SECTIONS = (
    against_the_loop,
    against_transformers,
    against_the_limit,
    memory,
    lengths,
    threads,
    accuracy,
    against_a_transformer,
)

if __name__ == "__main__":
    print_table(__doc__ or "", SECTIONS)
