"""Which device a name stands for, and whether this machine has it."""

import torch

from bakeoff.errors import BakeoffError


def device_of(name: str, given: str) -> str:
    """The device of a run; "auto" is cuda where there is one.

    Args:
        given: what gave the name, as errors say it.

    Raises:
        BakeoffError: no such device, or one that is not supported.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BakeoffError(f"{given} {name}: no such device; allowed: auto, cpu, cuda, cuda:N.") from None
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise BakeoffError(f"{given} {name}: this machine and this build of torch have {count} CUDA devices.")
    if device.type not in ("cpu", "cuda"):
        raise BakeoffError(f"{given} {name}: not supported; allowed: auto, cpu, cuda, cuda:N.")
    return name
