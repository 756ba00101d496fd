"""Data sets as plain arrays."""

from bakeoff.data.mnist import Digits, load_mnist

__all__ = ["Digits", "load_mnist"]
