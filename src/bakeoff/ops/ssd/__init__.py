"""The state space dual form of Mamba-2 and Mamba-3: `face` is the public function, `reference` plain PyTorch."""

from bakeoff.ops.ssd.face import ssd

__all__ = ["ssd"]
