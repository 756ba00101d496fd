"""Seeds of random draws: each is a function of purpose, seed and step, so no draw depends on what ran before."""

import hashlib

from torch import Generator


def derived_seed(purpose: str, *numbers: int) -> int:
    """An independent 63-bit seed for every purpose and position."""
    text = "/".join([purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(purpose: str, *numbers: int) -> Generator:
    """A generator on the CPU, seeded by `derived_seed`."""
    return Generator().manual_seed(derived_seed(purpose, *numbers))
