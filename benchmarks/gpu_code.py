"""What the compiler makes of the Triton kernels: registers, spills, shared memory, instructions. Needs no GPU.

    python -m benchmarks.gpu_code [--arch 90] [--dtype bf16]

Instructions are those a warp issues for 32 elements of the state (token, channel, state), counted in the machine code,
loop by loop, at N = 64: what the innermost loops take, and all. They are of the scan; the state space dual form is
compiled at N = P = 64.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from bakeoff.ops.causal_conv import triton_conv
from bakeoff.ops.selective_scan import triton_backward, triton_forward, triton_launch
from bakeoff.ops.selective_scan.triton_launch import SEGMENT, Tile
from bakeoff.ops.ssd import triton_backward as ssd_backward
from bakeoff.ops.ssd import triton_forward as ssd_forward
from bakeoff.ops.ssd import triton_launch as ssd_launch

N = 64
SHARED_LIMIT = 99 * 1024  # bytes that a block can have on consumer cards
ACTIVATIONS = ("x", "u", "dt", "z", "y", "ungated", "dy", "du", "ddt", "dz", "q", "k", "v", "dq", "dk")
PARAMETERS = ("A2", "Bp", "Cp", "skip", "bias", "carry", "states", "scratch", "dA", "dB", "dC", "dskip", "dbias")
PARAMETERS += ("weight", "dweight", "ds", "elapsed", "end", "start", "log_decay", "w", "g", "sums", "totals")
PARAMETERS += ("dstates", "dlog_decay", "dw", "dg")
SIXTEENTHS = ("D", "N", *(f"{name}_{axis}" for name in ("u", "dt", "x", "z", "q", "k", "v", "dy") for axis in "bt"))


class Code(NamedTuple):
    """One kernel, compiled."""

    name: str
    registers: int
    stack_bytes: int
    shared_bytes: int
    inner: float
    total: float


def tiled(tile: Tile) -> dict[str, Any]:
    """A scan kernel's constants, as in a block."""
    constants = {"splits": 1, "SOFTPLUS": True, "REVERSE": False, "SEGMENT": SEGMENT // tile.T}
    return constants | {"N_BLOCK": tile.N_BLOCK, "D_BLOCK": tile.D_BLOCK, "T": tile.T}


def compiled(kernel: Any, constants: dict[str, Any], warps: int, dtype: str, arch: int, stages: int = 3) -> Any:
    """Triton's compiled kernel; None among the constants is an absent argument."""
    names = kernel.arg_names
    constants = {name: value for name, value in constants.items() if name in names}
    types = {name: "i32" for name in names} | {name: f"*{dtype}" for name in ACTIVATIONS}
    types |= {name: "*fp32" for name in PARAMETERS} | {name: "constexpr" for name in constants}
    aligned = [name for name in names if types[name].startswith("*") or name in SIXTEENTHS]
    source = ASTSource(
        fn=kernel,
        signature={name: types[name] for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in aligned if name not in constants},
    )
    options = {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}
    return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)


def machine_code(code: Any) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code.asm["cubin"])
        file.flush()
        tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
        command = [str(tool), "-res-usage", "-sass", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def loops(code: str) -> list[tuple[int, int]]:
    """(first, last) instruction of every loop: where a branch goes back to."""
    branches = re.findall(r"/\*([0-9a-f]{4,5})\*/[^;]*\bBRA\b[^;]*?0x([0-9a-f]+)\s*;", code)
    found = ((int(to, 16) // 16, int(at, 16) // 16) for at, to in branches)
    return sorted({(to, at) for to, at in found if to < at}, key=lambda loop: loop[1] - loop[0])


def measure(name: str, kernel: Any, tile: Tile, dtype: str, arch: int) -> Code:
    code = compiled(kernel, tiled(tile) | {"elapsed": None}, tile.warps, dtype, arch)
    text = machine_code(code)
    used = re.search(r"REG:(\d+) STACK:(\d+)", text)
    assert used is not None
    spans = loops(text)
    inner = [span for span in spans if not any(a >= span[0] and b <= span[1] and (a, b) != span for a, b in spans)]
    elements = tile.N_BLOCK * tile.D_BLOCK * tile.T / (32 * tile.warps)
    # An inner loop runs N / N_BLOCK times a chunk; its chunk's loop, once; all but the last of a segment's chunks are
    # made again first. The longer inner loop is the one of the gradients.
    times = {span: 1.0 for span in inner}
    if len(inner) == 2:
        times[min(inner, key=lambda span: span[1] - span[0])] = 1 - tile.T / SEGMENT
    within = sum(times[a, b] * (b - a + 1) for a, b in inner) / elements
    around = 0.0
    for a, b in inner:
        holders = [span for span in spans if span[0] <= a and b <= span[1] and span != (a, b)]
        first, last = min(holders, key=lambda span: span[1] - span[0])
        around += times[a, b] * (last - first - (b - a)) / (elements * N / tile.N_BLOCK)
    return Code(name, int(used[1]), int(used[2]), code.metadata.shared, within, within + around)


def kernels(dtype: str, arch: int) -> Iterator[Code]:
    yield measure("forward", triton_forward.forward, triton_launch.FORWARD, dtype, arch)
    yield measure("backward", triton_backward.backward, triton_launch.BACKWARD, dtype, arch)


class Used(NamedTuple):
    """What a kernel of the state space dual form uses, at N = P = 64."""

    name: str
    registers: int
    stack_bytes: int
    shared_bytes: int


def dual_form(dtype: str, arch: int) -> Iterator[Used]:
    launch, size = ssd_launch, 64
    precision = launch.WIDE if dtype == "fp32" else launch.NARROW
    shared = {"R": 1, "P": size, "N": size, "REVERSE": False, "ROWS": launch.ROWS, "PRECISION": precision}
    walk = {"SIZE": size * size, "BLOCK": launch.BLOCK, "BACK": True}
    for name, kernel, tile, constants in (
        ("sums of chunks", ssd_forward.chunk_sums, launch.SUMS, {"BACK": False}),
        ("the same, back", ssd_forward.chunk_sums, launch.SUMS, {"BACK": True}),
        ("outputs", ssd_forward.outputs, launch.OUTPUTS, {"BACK": False}),
        ("one chunk's", ssd_forward.outputs, launch.OUTPUTS, {"BACK": False, "states": None}),
        ("values' gradients", ssd_forward.outputs, launch.VALUES, {"BACK": True}),
        ("other gradients", ssd_backward.gradients, launch.GRADIENTS, {}),
        ("handing on", ssd_forward.hand_on, launch.SUMS, walk),
    ):
        constants = shared | constants | {"P_BLOCK": tile.P_BLOCK, "N_BLOCK": tile.N_BLOCK}
        code = compiled(kernel, constants, tile.warps, dtype, arch, stages=1)
        used = re.search(r"REG:(\d+) STACK:(\d+)", machine_code(code))
        assert used is not None
        yield Used(name, int(used[1]), int(used[2]), code.metadata.shared)


def others(dtype: str, arch: int) -> Iterator[tuple[str, int]]:
    """Names and bytes of shared memory of the other kernels, and of the same with arguments absent."""
    forward, backward = tiled(triton_launch.FORWARD), tiled(triton_launch.BACKWARD)
    no_output = dict.fromkeys(("Cp", "skip", "z", "states", "y", "ungated"))
    plain = dict.fromkeys(("skip", "z", "ungated", "bias", "dskip", "dz", "dbias", "elapsed")) | {"REVERSE": True}
    conv = {"K": 4, "SILU": True, "REVERSE": False, "ROWS": triton_conv.ROWS, "CHANNELS": triton_conv.CHANNELS}
    del forward["splits"], backward["splits"]
    for name, kernel, constants, warps in (
        ("plain forward", triton_forward.forward, forward | plain, triton_launch.FORWARD.warps),
        ("stretches alone", triton_forward.forward, forward | no_output, triton_launch.FORWARD.warps),
        ("elapsed", triton_forward.forward, forward | no_output | {"carry": None}, triton_launch.FORWARD.warps),
        ("plain backward", triton_backward.backward, backward | plain, triton_launch.BACKWARD.warps),
        ("adjoint", triton_backward.adjoint, forward, triton_launch.FORWARD.warps),
        ("combine", triton_forward.combine, {"BACK": True, "BLOCK": 512}, 4),
        ("convolution", triton_conv.forward_kernel, conv, triton_conv.WARPS),
        ("its gradients", triton_conv.backward_kernel, conv, triton_conv.WARPS),
        ("plain convolution", triton_conv.forward_kernel, conv | {"bias": None, "SILU": False}, triton_conv.WARPS),
    ):
        yield name, compiled(kernel, constants, warps, dtype, arch).metadata.shared


def main() -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--arch", type=int, default=90, help="compute capability, without its point")
    parser.add_argument("--dtype", default="bf16", choices=("bf16", "fp16", "fp32"), help="of the activations")
    options = parser.parse_args()
    print(f"triton {triton.__version__}, compute capability {options.arch}, {options.dtype} activations")
    print("| kernel | registers | stack bytes | shared bytes | instructions: inner loops | all |")
    print("|---|---|---|---|---|---|")
    fits = True
    for one in kernels(options.dtype, options.arch):
        cells = (one.name, one.registers, one.stack_bytes, one.shared_bytes, f"{one.inner:.1f}", f"{one.total:.1f}")
        print("| " + " | ".join(map(str, cells)) + " |")
        fits &= one.shared_bytes <= SHARED_LIMIT
    print("bytes of shared memory of the others:", end="")
    for name, shared in others(options.dtype, options.arch):
        print(f" {name} {shared};", end="")
        fits &= shared <= SHARED_LIMIT
    print("\n\n| state space dual form | registers | stack bytes | shared bytes |")
    print("|---|---|---|---|")
    for used in dual_form(options.dtype, options.arch):
        print("| " + " | ".join(map(str, used)) + " |")
        fits &= used.shared_bytes <= SHARED_LIMIT
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
