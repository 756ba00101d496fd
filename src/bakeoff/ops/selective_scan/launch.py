"""The calls of the scan's compiled kernels, by the tensors they serve: native C++ on the CPU, or Triton."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from bakeoff.ops import dispatch
from bakeoff.ops.selective_scan import native
from bakeoff.ops.selective_scan.inputs import ScanInputs
from bakeoff.ops.tensors import rows, sequence


class ScanKernels(NamedTuple):
    """One back end's calls, with the signatures of those in `native`; `sequence` prepares u, dt, B, C and z."""

    sequence: Callable[[Tensor], Tensor]
    forward: Callable[..., tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]]
    backward: Callable[..., ScanInputs]
    saved: Callable[[ScanInputs], tuple[Tensor, Tensor | None]]


_NATIVE = ScanKernels(sequence, native.forward, native.backward, native.saved)


def kernels(x: Tensor) -> ScanKernels:
    """Those that serve x. Triton is imported when first needed."""
    if dispatch.compiled(x) == "native":
        return _NATIVE
    from bakeoff.ops.selective_scan import triton_launch

    return ScanKernels(rows, triton_launch.forward, triton_launch.backward, triton_launch.saved)
