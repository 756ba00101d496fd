"""One token of every item through a whole mixer, in one call of a C++ kernel: for inference on the CPU in float32.

`serves` says whether the kernels take a call; the functions, one for each mixer, take the mixer's own parameters and
the state that its plain `step` keeps, and change the state in place. The mixers' plain steps are the reference.
"""

from bakeoff.ops.step.attention import AttentionInputs, attention
from bakeoff.ops.step.gru import GruInputs, gru
from bakeoff.ops.step.mamba import MambaInputs, mamba
from bakeoff.ops.step.mamba2 import Mamba2Inputs, mamba2
from bakeoff.ops.step.mamba3 import Mamba3Inputs, Mamba3Options, mamba3
from bakeoff.ops.step.mlp import MlpInputs, mlp
from bakeoff.ops.step.serving import Parameters, serves

__all__ = [
    "AttentionInputs",
    "GruInputs",
    "Mamba2Inputs",
    "Mamba3Inputs",
    "Mamba3Options",
    "MambaInputs",
    "MlpInputs",
    "Parameters",
    "attention",
    "gru",
    "mamba",
    "mamba2",
    "mamba3",
    "mlp",
    "serves",
]
