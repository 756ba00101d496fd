"""Sequence operations: each is a folder, and one public function over all back ends."""

from bakeoff.ops.causal_conv import causal_conv
from bakeoff.ops.dispatch import Backend, backends
from bakeoff.ops.selective_scan import selective_scan
from bakeoff.ops.ssd import ssd

__all__ = ["Backend", "backends", "causal_conv", "selective_scan", "ssd"]
