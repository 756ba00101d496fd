"""The judge of generated digits: frozen, shipped, and calibrated on images that are not digits."""

from bakeoff.judge.calibration import calibration
from bakeoff.judge.classifier import Judge, fingerprint, load_judge
from bakeoff.judge.quality import Quality, assess, recognise

__all__ = ["Judge", "Quality", "assess", "calibration", "fingerprint", "load_judge", "recognise"]
