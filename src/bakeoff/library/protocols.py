"""bo.load: a protocol from a preset, a file or plain values, with some keys changed."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from bakeoff.protocol.presets import load_protocol, parse_protocol
from bakeoff.protocol.schema import Protocol


def load(source: str | Path | Mapping[str, Any], /, **changes: Any) -> Protocol:
    """A checked, frozen protocol: all that decides a bake-off.

    Args:
        source: a preset's name (`bakeoff ls` lists them), the path of a TOML file, or a whole protocol as plain values.
        changes: keys to change, sections with a dot, such as `**{"training.lr": 3e-4}`; None removes a key.

    Returns:
        A pydantic model: `protocol.training.lr`, `protocol.digest()`. Equal digests are the same experiment.

    Raises:
        BakeoffError: no such preset or file, an unknown key, an impossible value; each named, with what is allowed.

    >>> import bakeoff as bo
    >>> protocol = bo.load("smoke", seeds=[0, 1, 2], **{"training.lr": 3e-4})
    >>> protocol.training.lr, protocol.rule.evidence
    (0.0003, 'seeds')
    >>> bo.load("smoke", **{"training.lrr": 1})
    Traceback (most recent call last):
    bakeoff.errors.BakeoffError: smoke: not a valid protocol:
      training.lrr: unknown key (did you mean lr?); allowed here: optimiser, lr, ...
    """
    if isinstance(source, Mapping):
        return parse_protocol(deepcopy(dict(source)), "protocol", changes)
    return load_protocol(str(source), changes)


def loaded(protocol: Protocol | str | Path) -> Protocol:
    """A protocol as it is, or the one that a name or a path stands for."""
    return protocol if isinstance(protocol, Protocol) else load(protocol)
