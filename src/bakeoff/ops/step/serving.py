"""Whether the kernels serve a step, and its tensors on their way to them."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from bakeoff.errors import BackendMissing
from bakeoff.ops import dispatch
from bakeoff.ops.arguments import check_tensor
from bakeoff.ops.autograd import differentiated, traced

Inputs = TypeVar("Inputs", bound=NamedTuple)


class Field(NamedTuple):
    """What a tensor must be: of this shape, or absent if that is allowed."""

    name: str
    shape: tuple[int, ...]
    optional: bool


class Parameters:
    """Which parameters of a mixer the kernel of its step reads, each where it is.

    Args:
        names: as in `state_dict`, in the kernel's order; None stands for one that this mixer does not have.
        kinds: of the modules that hold them.
    """

    def __init__(self, *names: str | None, kinds: Collection[type[nn.Module]] = (nn.Linear,)) -> None:
        self._places = [None if name is None else name.rpartition(".")[::2] for name in names]
        self._kinds = frozenset(kinds)

    def of(self, mixer: nn.Module) -> list[Tensor | None] | None:
        """The tensors; None if a part of the mixer was replaced, parametrised or given hooks.

        For a kernel would pass over what stands in place of a part, or around it.
        """
        found: list[Any] = []
        for place in self._places:
            if place is None:
                found.append(None)
                continue
            part, name = place
            module: Any = mixer
            if part:  # out of the dictionaries: a module's attributes take ten times as long
                module = mixer._modules[part]
                if type(module) not in self._kinds or module._forward_hooks or module._forward_pre_hooks:
                    return None
            own = module._parameters
            found.append(own[name] if name in own else getattr(module, name))
        return found


def serves(given: tuple[Tensor | None, ...] | None) -> bool:
    """Whether a kernel takes this step, or the mixer's plain PyTorch does; None: a part of the mixer is not untouched.

    Raises:
        BackendMissing: BAKEOFF_BACKEND forces the native kernels, and they cannot serve.
        BakeoffError: BAKEOFF_BACKEND names no back end.
    """
    choice = dispatch.forced()
    if choice not in ("auto", "native"):
        return False
    obstacle = _obstacle(given)
    if obstacle and choice == "native":
        raise BackendMissing(f"BAKEOFF_BACKEND forces the native kernels, but {obstacle}")
    return not obstacle


def _obstacle(given: tuple[Tensor | None, ...] | None) -> str:
    if missing := dispatch.why_not_native():
        return missing
    if given is None:
        return "a part of the mixer was replaced, parametrised or given hooks, which their step passes over"
    for x in given:
        if x is not None and not (x.is_cpu and x.dtype is torch.float32):
            return f"their step takes float32 tensors on the CPU and was given {x.dtype} on {x.device}"
    if differentiated(given):
        return "their step has no derivatives; call it under torch.no_grad()"
    if torch.is_autocast_enabled("cpu"):
        return "their step computes in float32, not as autocast has it"
    return "torch.compile and dispatch modes do not see into their step" if traced() else ""


def fields(kind: type[NamedTuple], **sizes: int) -> list[Field]:
    """What each tensor of a kind of inputs must be, by the letters of its name's suffix and by its annotation."""
    return [
        Field(name, tuple(sizes[axis] for axis in name.rpartition("_")[2]), kind.__annotations__[name] is not Tensor)
        for name in kind._fields
    ]


def prepared(given: Inputs) -> Inputs:
    """Contiguous tensors: those given, where they are."""
    for x in given:
        if x is not None and not x.is_contiguous():
            return given._make(one if one is None else one.contiguous() for one in given)
    return given


def addresses(given: NamedTuple, wanted: Sequence[Field]) -> list[int]:
    """For C++, 0 for an absent tensor.

    Raises:
        TypeError: a tensor is absent that must not be.
        ValueError: a tensor has another shape than wanted; the message names it.
    """
    for x, (name, shape, optional) in zip(given, wanted, strict=True):
        if x is None:
            if not optional:
                raise TypeError(f"{name} is None; it must be a torch.Tensor")
        elif x.shape != shape:
            axes = name.rpartition("_")[2]
            check_tensor(name, x, x, axes, dict(zip(axes, shape, strict=True)))
    return [0 if x is None else x.data_ptr() for x in given]
