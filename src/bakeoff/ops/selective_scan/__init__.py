"""Mamba-1's selective scan: `face` is the public function, the other files its back ends and their registration."""

from bakeoff.ops.selective_scan.face import selective_scan

__all__ = ["selective_scan"]
