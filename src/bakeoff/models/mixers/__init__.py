"""The built-in mixers, one in each file."""

from bakeoff.models.mixers.attention import Attention
from bakeoff.models.mixers.base import Direction, Mixer
from bakeoff.models.mixers.conv import Conv
from bakeoff.models.mixers.gru import Gru
from bakeoff.models.mixers.mamba import Mamba
from bakeoff.models.mixers.mamba2 import Mamba2
from bakeoff.models.mixers.mamba3 import Mamba3
from bakeoff.models.mixers.mlp import Mlp

__all__ = ["Attention", "Conv", "Direction", "Gru", "Mamba", "Mamba2", "Mamba3", "Mixer", "Mlp"]
