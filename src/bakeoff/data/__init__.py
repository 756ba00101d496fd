"""Data sets as plain arrays."""

from bakeoff.data.mnist import Digits, as_images, load_mnist

__all__ = ["Digits", "as_images", "load_mnist"]
