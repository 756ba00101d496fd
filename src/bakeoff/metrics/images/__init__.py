"""Judges of generated images: frozen, shipped, and calibrated on images that are none of their classes."""

from bakeoff.metrics.images.calibration import KINDS, measure, shipped_calibration
from bakeoff.metrics.images.judge import NETWORKS, Judge, fingerprint, load_judge, read_judge, save_judge, shipped
from bakeoff.metrics.images.quality import assess, assess_asked
from bakeoff.metrics.images.reference import Reference, features, mean_sharpness, reference_of, shipped_reference

__all__ = [
    "KINDS",
    "NETWORKS",
    "Judge",
    "Reference",
    "assess",
    "assess_asked",
    "features",
    "fingerprint",
    "load_judge",
    "mean_sharpness",
    "measure",
    "read_judge",
    "reference_of",
    "save_judge",
    "shipped",
    "shipped_calibration",
    "shipped_reference",
]
