"""What stands around mixers in their branches, and around the products in them, each in one pass over memory.

On the CPU the native kernels serve, forward and backward; on other devices, for float64, and under torch.compile and
dispatch modes, which see to fusing or counting themselves, plain PyTorch does. Shapes are the mixers' own to check.
"""

from bakeoff.ops.fused.branch import gated_sum, normed
from bakeoff.ops.fused.gate import Norm, Scales, gated
from bakeoff.ops.fused.heads import normed_heads
from bakeoff.ops.fused.ranks import ranked
from bakeoff.ops.fused.turn import turned, turned_pair

__all__ = ["Norm", "Scales", "gated", "gated_sum", "normed", "normed_heads", "ranked", "turned", "turned_pair"]
