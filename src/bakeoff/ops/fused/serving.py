"""Whether the native kernels serve a call."""

from torch import Tensor

from bakeoff.ops import dispatch
from bakeoff.ops.autograd import traced


def serves(*tensors: Tensor | None) -> bool:
    """Whether the native kernels take these tensors; if not, plain PyTorch does.

    Raises:
        BackendMissing: BAKEOFF_BACKEND forces the native kernels, and they cannot serve.
        BakeoffError: BAKEOFF_BACKEND names no back end.
    """
    choice = dispatch.forced()
    if choice not in ("auto", "native") or traced():
        return False
    if choice == "auto" and any(x is not None and not x.is_cpu for x in tensors):
        return False
    return dispatch.choose(*tensors) == "native"
