"""The calls of the convolution's compiled kernels, by the tensors they serve: native C++ on the CPU, or Triton."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from bakeoff.ops import dispatch
from bakeoff.ops.causal_conv import native
from bakeoff.ops.tensors import rows, sequence


class ConvKernels(NamedTuple):
    """One back end's calls, with the signatures of those in `native`; `sequence` prepares x."""

    sequence: Callable[[Tensor], Tensor]
    forward: Callable[..., Tensor]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor | None]]


_NATIVE = ConvKernels(sequence, native.forward, native.backward)


def kernels(x: Tensor) -> ConvKernels:
    """Those that serve x. Triton is imported when first needed."""
    if dispatch.compiled(x) == "native":
        return _NATIVE
    from bakeoff.ops.causal_conv import triton_conv

    return ConvKernels(rows, triton_conv.forward, triton_conv.backward)
