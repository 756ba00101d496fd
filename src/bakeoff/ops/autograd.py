"""How eager calls of the compiled kernels meet autograd: who differentiates or traces a call, and what is refused.

Torch has no public name for two of the questions asked here. Where a release of torch lacks the private one, the
answer is yes: it sends the call down a path that is slower and always correct.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

NO_SECOND_DERIVATIVES = "the kernels of {} have no second derivatives; set BAKEOFF_BACKEND=reference to have them"
NO_FORWARD_MODE = "the kernels of {} have no forward-mode derivatives; set BAKEOFF_BACKEND=reference to have them"


def traced() -> bool:
    """Whether torch.compile or a dispatch mode (FLOP counting, fake tensors) must see a registered operator."""
    try:
        return torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0
    except AttributeError:  # no such name: the registered operators serve every call
        return True


def refuse_duals(name: str, tensors: tuple[Tensor | None, ...]) -> None:
    """Raises RuntimeError for a dual tensor given to operation `name`: a registered operator would drop its tangent.

    Under torch.compile tensors show no tangent, and this cannot tell.
    """
    if torch.compiler.is_compiling():
        return
    if any(x is not None and forward_ad.unpack_dual(x).tangent is not None for x in tensors):
        raise RuntimeError(NO_FORWARD_MODE.format(name))


def differentiated(tensors: tuple[Tensor | None, ...]) -> bool:
    """Whether a call must go through an autograd function: it saves what backward needs, or refuses dual tensors."""
    try:
        if forward_ad._current_level >= 0:  # inside dual_level()
            return True
    except AttributeError:  # no such name: every call goes through the function
        return True
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def refused(why: str, name: str) -> Any:
    """A derivative that the kernels of operation `name` do not have: as a method of an autograd function, it raises."""

    def derivative(*_: Any) -> Any:
        raise RuntimeError(why.format(name))

    return staticmethod(derivative)
