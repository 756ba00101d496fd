"""The calls of one compiled back end, by the tensors they serve: native C++ on the CPU, or Triton."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from bakeoff.ops import dispatch, kernels


class Scan(NamedTuple):
    """Calls of one back end's scan, with the signatures of those in `kernels`."""

    sequence: Callable[[Tensor], Tensor]
    forward: Callable[..., tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]]
    backward: Callable[..., kernels.ScanInputs]
    saved: Callable[[kernels.ScanInputs], tuple[Tensor, Tensor | None]]


class Conv(NamedTuple):
    """Calls of one back end's convolution, with the signatures of those in `kernels`."""

    sequence: Callable[[Tensor], Tensor]
    forward: Callable[..., Tensor]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor | None]]


def scan(x: Tensor) -> Scan:
    if dispatch.compiled(x) == "native":
        return Scan(kernels.sequence, kernels.scan_forward, kernels.scan_backward, kernels.saved)
    from bakeoff.ops import triton_scan

    return Scan(kernels.rows, triton_scan.scan_forward, triton_scan.scan_backward, triton_scan.saved)


def conv(x: Tensor) -> Conv:
    if dispatch.compiled(x) == "native":
        return Conv(kernels.sequence, kernels.conv_forward, kernels.conv_backward)
    from bakeoff.ops import triton_conv

    return Conv(kernels.rows, triton_conv.conv_forward, triton_conv.conv_backward)
