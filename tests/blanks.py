"""Items that are nothing, for tests that need samples in their place."""

import numpy as np

from bakeoff.artefacts.base import Items


def blank(count: int) -> Items:
    return Items({"images": np.zeros((count, 28, 28), np.uint8)})
