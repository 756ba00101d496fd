"""What a check of the audit says: a contradiction, or what it lacked to look for one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True)
class Contradiction:
    """A contradiction: which check found it, in which parts of the table, and the arithmetic in words."""

    check: str
    where: str
    message: str


@dataclass(frozen=True)
class Skipped:
    """A check that could not be made, there, and why."""

    check: str
    where: str
    reason: str


Checked = Contradiction | Skipped


def known(where: str, section: BaseModel, *keys: str) -> tuple[list[Any], list[str]]:
    """The values of the keys, and those that the table leaves out, as the file would spell them."""
    values = [getattr(section, key) for key in keys]
    return values, [f"{where}.{key}" for key, value in zip(keys, values, strict=True) if value is None]


def lacking(absent: Sequence[str]) -> str:
    return f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} missing"
