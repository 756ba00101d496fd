"""Data sets as plain arrays."""

from bakeoff.data.images import ImageSet, as_images
from bakeoff.data.mnist import load_mnist

__all__ = ["ImageSet", "as_images", "load_mnist"]
