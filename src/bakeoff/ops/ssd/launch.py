"""The calls of the state space dual form's compiled kernels, by the tensors they serve: C++ on the CPU, or Triton."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from bakeoff.ops import dispatch
from bakeoff.ops.ssd import native
from bakeoff.ops.ssd.inputs import SsdInputs
from bakeoff.ops.tensors import rows, sequence


class SsdKernels(NamedTuple):
    """One back end's calls, with the signatures of those in `native`; `sequence` prepares q, k and v."""

    sequence: Callable[[Tensor], Tensor]
    forward: Callable[..., tuple[Tensor, Tensor | None, Tensor | None]]
    backward: Callable[..., SsdInputs]
    saved: Callable[[SsdInputs], Tensor]


_NATIVE = SsdKernels(sequence, native.forward, native.backward, native.saved)


def kernels(x: Tensor) -> SsdKernels:
    """Those that serve x. Triton is imported when first needed."""
    if dispatch.compiled(x) == "native":
        return _NATIVE
    from bakeoff.ops.ssd import triton_launch

    return SsdKernels(rows, triton_launch.forward, triton_launch.backward, triton_launch.saved)
