"""Depthwise causal convolution: `face` is the public function, the other files its back ends and their registration."""

from bakeoff.ops.causal_conv.face import causal_conv

__all__ = ["causal_conv"]
