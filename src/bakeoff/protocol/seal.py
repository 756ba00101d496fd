"""The seal: what was decided before the first step, and what of it no longer holds.

The canonical form of a protocol is its JSON with every default written out, keys sorted and no spaces. It stands in
the seal as it was, so that its digest can be recomputed by anyone, and by any later version of this package.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from bakeoff.protocol.formats import FORMAT, upgrade_inputs

SHOWN = 12
LONGEST = 80  # characters of a value that are shown


class Code(BaseModel):
    """The version that ran: of the package, and of its source where that is a git checkout."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    commit: str | None = None
    dirty: bool | None = None  # the checkout differed from its commit

    def __str__(self) -> str:
        commit = "" if self.commit is None else f" ({self.commit[:12]}{', with changes' if self.dirty else ''})"
        return f"bakeoff {self.version}{commit}"


class Seal(BaseModel):
    """The content of `seal.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    created: str
    digest: str  # of the canonical form of `protocol`
    protocol: dict[str, Any]
    # SHA-256 by name, of everything that is not code and shapes a result
    inputs: Annotated[dict[str, str], BeforeValidator(upgrade_inputs)]
    code: Code
    plan: dict[str, Any]  # matched widths, costs, trials, figures, lint


def canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical form, hex."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()


def deviations(seal: Seal, protocol: Mapping[str, Any], inputs: Mapping[str, str]) -> list[str]:
    """What is not as it was sealed, in words; empty if all holds.

    Args:
        protocol: the document in the run directory now, as it stands.
        inputs: of this installation, as far as the protocol uses them. A seal of format 1 names
            other things, too; only what both know is compared.
    """
    found = [f"protocol: {change}" for change in differences(seal.protocol, protocol)]
    if digest(seal.protocol) != seal.digest:
        found.append(f"seal.json: its protocol has digest {digest(seal.protocol)[:12]}, it says {seal.digest[:12]}")
    names = inputs.keys() & seal.inputs.keys() if seal.format == 1 else seal.inputs.keys() | inputs.keys()
    for name in sorted(names):
        found += _changed(name, seal.inputs.get(name), inputs.get(name))
    return found


def differences(sealed: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Keys whose values differ, at most a dozen of them spelled out."""
    before, after = dict(_flat(sealed)), dict(_flat(now))
    found = [
        f"{key} was {_text(before, key)[:LONGEST]}, is {_text(after, key)[:LONGEST]}"
        for key in before | after
        if _text(before, key) != _text(after, key)
    ]
    more = len(found) - SHOWN
    return [*found[:SHOWN], f"and {more} more"] if more > 0 else found


def _changed(what: str, sealed: str | None, now: str | None) -> list[str]:
    return [] if sealed == now else [f"{what}: was {str(sealed)[:12]}, is {str(now)[:12]}"]


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    if not items and path:
        yield path, value
    for key, child in items:
        yield from _flat(child, f"{path}.{key}" if path else str(key))


def _text(flat: Mapping[str, Any], key: str) -> str:
    """1 and 1.0 are one number."""
    if key not in flat:
        return "absent"
    value = flat[key]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, default=str)
