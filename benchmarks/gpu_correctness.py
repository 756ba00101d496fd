"""Whether the Triton kernels are right on this card: every one, against the float64 loop, outputs and gradients.

Relative L2 errors, on the same rounded inputs. The scan runs whole, as in a block; bare, without D, z, bias and
softplus; and with a state in and a state out.

Shapes: B batch, L tokens, D channels, N states, K taps.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_sections import Bench
from benchmarks.row import Row

TOLERANCE = {"float32": 2e-6, "bfloat16": 1e-2, "float16": 1e-2}
SCAN: tuple[str, ...] = ("u", "dt", "A", "B", "C", "D", "z", "dt bias")
CONVOLUTION: tuple[str, ...] = ("x", "weight", "bias")
TAPS = 4

Outputs = Sequence[Tensor]
Call = Callable[..., Outputs]


def errors(call: Call, exact: Call, inputs: dict[str, Tensor], outputs: Sequence[str]) -> dict[str, float]:
    """The relative errors of the outputs, and of the gradients of their weighted sum, by name."""
    results = []
    for function, dtype in ((call, None), (exact, torch.float64)):
        x = [t.detach().to(dtype or t.dtype).requires_grad_() for t in inputs.values()]
        y = function(*x)
        generator = torch.Generator(x[0].device).manual_seed(1)
        weights = [torch.randn(one.shape, generator=generator, device=one.device).to(one.dtype) for one in y]
        gradients = torch.autograd.grad(y, x, weights)
        results.append([t.detach().double() for t in (*y, *gradients)])
    return {
        name: ((a - b).norm() / b.norm().clamp_min(1e-30)).item()
        for name, a, b in zip((*outputs, *inputs), *results, strict=True)
    }


def row(name: str, found: dict[str, float], tolerance: float) -> Row:
    worst = max(found.values())  # a NaN is found whatever its place: no comparison with it holds
    right = all(error <= tolerance for error in found.values())
    detail = ", ".join(f"{what} {error:.0e}" for what, error in found.items())
    return Row(name, worst, "", f"<= {tolerance:.0e}", right, detail)


def _scan_ways(inputs: list[Tensor], reverse: bool) -> Iterator[tuple[str, Call, Call, dict[str, Tensor]]]:
    """How the scan is called, ours and the loop, and on what."""
    from bakeoff.ops import selective_scan as ours
    from bakeoff.ops.selective_scan.reference import selective_scan as reference

    scan: Callable[..., Any] = ours
    loop: Callable[..., Any] = reference

    whole = dict(zip(SCAN, inputs, strict=True))
    yield (
        "",
        lambda *x: [scan(*x, reverse=reverse)],
        lambda *x: [loop(*x, None, True, reverse)[0]],
        whole,
    )
    u, dt, A, B, C, *_ = inputs
    yield (
        ", bare",
        lambda *x: [scan(*x, dt_softplus=False, reverse=reverse)],
        lambda *x: [loop(*x, None, None, None, None, False, reverse)[0]],
        {"u": u, "dt": (0.1 * dt.detach().float().sigmoid()).to(dt.dtype), "A": A, "B": B, "C": C},
    )
    generator = torch.Generator(u.device).manual_seed(3)
    state = torch.randn(u.shape[0], *A.shape, generator=generator, device=u.device)
    yield (
        ", state in and out",
        lambda *x: scan(*x[:-1], initial_state_BDN=x[-1], return_final_state=True, reverse=reverse),
        lambda *x: loop(*x, True, reverse),
        {**whole, "state": state},
    )


def _convolution_ways(reverse: bool) -> Iterator[tuple[str, Call, Call, tuple[str, ...]]]:
    from bakeoff.ops import causal_conv
    from bakeoff.ops.causal_conv.reference import causal_conv as reference

    convolution: Callable[..., Any] = causal_conv
    exact: Callable[..., Any] = reference

    yield (
        "",
        lambda *x: [convolution(*x, reverse=reverse)],
        lambda *x: [exact(*x, True, reverse)],
        CONVOLUTION,
    )
    yield (
        ", bare",
        lambda *x: [convolution(*x, activation=None, reverse=reverse)],
        lambda *x: [exact(*x, None, False, reverse)],
        CONVOLUTION[:2],
    )


def correctness(bench: Bench) -> Iterator[Row]:
    """Every kernel, at every size and in every dtype; the first row says that they are Triton's."""
    from bakeoff.ops import dispatch

    device = bench.device
    served = dispatch.compiled(torch.empty(1, device=device))
    yield Row(f"served by {served}", None, "", "triton", served == "triton")
    for kind in bench.sizes.dtypes:
        dtype, tolerance = getattr(torch, kind), TOLERANCE[kind]
        for shape in bench.sizes.exact:
            for reverse in (False, True):
                back = ", reversed" if reverse else ""
                for way, ours, exact, given in _scan_ways(bench.inputs(*shape, dtype), reverse):
                    outputs = ("y", "final") if "state" in given else ("y",)
                    found = errors(ours, exact, given, outputs)
                    yield row(f"scan {kind} {shape}{way}{back}", found, tolerance)
        for B, L, D, _ in bench.sizes.exact:
            x = bench.inputs(B, L, D, TAPS, dtype)
            weight = torch.randn(D, TAPS, generator=torch.Generator(device).manual_seed(2), device=device)
            values = dict(zip(CONVOLUTION, (x[0], weight, x[7]), strict=True))
            for reverse in (False, True):
                for way, ours, exact, names in _convolution_ways(reverse):
                    found = errors(ours, exact, {name: values[name] for name in names}, ("y",))
                    back = ", reversed" if reverse else ""
                    yield row(f"convolution {kind} {(B, L, D)}{way}{back}", found, tolerance)
