"""The judge of generated digits: frozen, shipped, and calibrated on images that are not digits."""

from bakeoff.metrics.digits.calibration import measure_calibration, shipped_calibration
from bakeoff.metrics.digits.classifier import Judge, fingerprint, load_judge
from bakeoff.metrics.digits.quality import assess, recognise

__all__ = [
    "Judge",
    "assess",
    "fingerprint",
    "load_judge",
    "measure_calibration",
    "recognise",
    "shipped_calibration",
]
