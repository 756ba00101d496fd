"""Conditioning on time and class: an embedding, and the residual branch around every mixer.

The branch belongs to the trunk and is the same for all backbones, so that they differ only in their mixers.
Shapes: B batch, L tokens, D = d_model; c_BD is the condition.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bakeoff.ops.fused import gated_sum, normed

Conditioning = Literal["adaln", "adaln-single", "head"]
Norm = Literal["layer", "rms"]
EPS: dict[Norm, float] = {"layer": 1e-5, "rms": 1e-6}
Mix = Callable[[Tensor], Tensor]  # (B, L, D) -> (B, L, D)


def sinusoidal(positions_N: Tensor, dim: int, longest: float = 10_000.0) -> Tensor:
    """(N,) -> (N, dim): sines, then cosines, of geometrically spaced frequencies [Vaswani et al. 2017]."""
    half = (dim + 1) // 2
    rate = torch.exp(-math.log(longest) * torch.arange(half, device=positions_N.device) / half)
    angle = positions_N.float()[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=-1)[:, :dim]


class ClassTokens(nn.Module):
    """K tokens that say the class, read before all others: its embedding and learned positions [Li and He 2025]."""

    def __init__(self, count: int, d_model: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(0.02 * torch.randn(count, d_model))

    def forward(self, class_BD: Tensor) -> Tensor:
        """(B, D), the embedded class of each item, to (B, K, D)."""
        return class_BD.unsqueeze(1) + self.positions


class Condition(nn.Module):
    """Maps time t in [0, 1] and an optional class to one vector c_BD; class number `classes` means "no class".

    Args:
        timed: whether there is a time.
        classes: number of classes; 0 if there are no labels.
    """

    def __init__(self, d_model: int, classes: int, timed: bool = True) -> None:
        super().__init__()
        self.d_model, self.classes = d_model, classes
        self.time = None
        if timed:
            self.time = nn.Sequential(nn.Linear(d_model, d_model), nn.SiLU(), nn.Linear(d_model, d_model))
        self.label = nn.Embedding(classes + 1, d_model) if classes else None

    def forward(self, x: Tensor, t_B: Tensor | None, labels_B: Tensor | None) -> Tensor:
        """c_BD for the items of x, (B, ...)."""
        c_BD = torch.zeros(len(x), self.d_model, device=x.device)
        if self.time is not None:
            assert t_B is not None
            c_BD = self.time(sinusoidal(1000.0 * t_B, self.d_model))
        return c_BD if self.label is None else c_BD + self.embedded_class(len(x), labels_B)

    def embedded_class(self, count: int, labels_B: Tensor | None) -> Tensor:
        """(B, D) for so many items; None hides every class."""
        assert self.label is not None
        if labels_B is None:
            labels_B = torch.full((count,), self.classes, device=self.label.weight.device)
        return self.label(labels_B)

    def flops(self) -> int:
        return 0 if self.time is None else 4 * self.d_model**2


class RMSNorm(nn.RMSNorm):
    """torch's, on the CPU in one pass."""

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_cpu:
            return super().forward(x)
        return normed(x, self.weight.expand(len(x), 1, -1), None, centred=False, eps=EPS["rms"])


def norm_of(kind: Norm, d_model: int) -> nn.Module:
    """LayerNorm [Ba et al. 2016], or RMSNorm [Zhang and Sennrich 2019], which neither centres nor shifts."""
    return RMSNorm(d_model, eps=EPS["rms"]) if kind == "rms" else nn.LayerNorm(d_model, eps=EPS["layer"])


class ModulatedNorm(nn.Module):
    """The same without weights of its own: factor and shift are the condition's."""

    def __init__(self, kind: Norm) -> None:
        super().__init__()
        self.kind: Norm = kind

    def forward(self, x_BLD: Tensor, factor_B1D: Tensor, shift_B1D: Tensor) -> Tensor:
        return normed(x_BLD, factor_B1D, shift_B1D, centred=self.kind == "layer", eps=EPS[self.kind])


class AdaLNBranch(nn.Module):
    """x + gate(c) * mixer(norm(x) (1 + scale(c)) + shift(c)), zero-initialised [DiT, Peebles and Xie 2023].

    Args:
        single: shift, scale and gate are those of one map for all branches, which the branch then reads in place of the
            condition, plus values of its own [adaLN-single of PixArt-alpha, Chen et al. 2023].
    """

    def __init__(self, mixer: nn.Module, d_model: int, norm: Norm = "layer", *, single: bool = False) -> None:
        super().__init__()
        self.mixer = mixer
        self.norm = ModulatedNorm(norm)
        self.modulation = None if single else zeroed(nn.Linear(d_model, 3 * d_model))
        self.bias = nn.Parameter(torch.zeros(3 * d_model)) if single else None

    def forward(self, x_BLD: Tensor, c_BD: Tensor) -> Tensor:
        return self.around(self.mixer, x_BLD, c_BD)

    def around(self, mixer: Mix, x_BLD: Tensor, c_BD: Tensor) -> Tensor:
        """The branch around a map in its mixer's place."""
        shift, scale, gate = self._modulated(c_BD).unsqueeze(1).chunk(3, dim=-1)
        return gated_sum(x_BLD, gate, mixer(self.norm(x_BLD, 1 + scale, shift)))

    def _modulated(self, c_BD: Tensor) -> Tensor:
        if self.modulation is not None:
            return self.modulation(F.silu(c_BD))
        assert self.bias is not None
        return c_BD + self.bias

    def flops(self) -> int:
        """Of the branch alone, without its mixer."""
        return 0 if self.modulation is None else 2 * self.modulation.weight.numel()


class PlainBranch(nn.Module):
    """x + mixer(norm(x)): pre-norm, without the condition."""

    def __init__(self, mixer: nn.Module, d_model: int, norm: Norm = "layer") -> None:
        super().__init__()
        self.mixer = mixer
        self.norm = norm_of(norm, d_model)

    def forward(self, x_BLD: Tensor, c_BD: Tensor) -> Tensor:
        return self.around(self.mixer, x_BLD, c_BD)

    def around(self, mixer: Mix, x_BLD: Tensor, c_BD: Tensor) -> Tensor:
        """The branch around a map in its mixer's place."""
        return x_BLD + mixer(self.norm(x_BLD))

    def flops(self) -> int:
        """Of the branch alone, without its mixer."""
        return 0


class AdaLNHead(nn.Module):
    """Modulated norm and a zero-initialised linear map to the velocity, as in DiT's final layer."""

    def __init__(self, d_model: int, channels: int, norm: Norm = "layer") -> None:
        super().__init__()
        self.norm = ModulatedNorm(norm)
        self.modulation = zeroed(nn.Linear(d_model, 2 * d_model))
        self.out = zeroed(nn.Linear(d_model, channels))

    def forward(self, x_BLD: Tensor, c_BD: Tensor) -> Tensor:
        shift, scale = self.modulation(F.silu(c_BD)).unsqueeze(1).chunk(2, dim=-1)
        return self.out(self.norm(x_BLD, 1 + scale, shift))

    def flops(self, L: int) -> int:
        return 2 * self.modulation.weight.numel() + 2 * L * self.out.weight.numel()


class PlainHead(nn.Module):
    """W norm(x): the head without any condition."""

    def __init__(self, d_model: int, out: int, norm: Norm = "layer") -> None:
        super().__init__()
        self.norm = norm_of(norm, d_model)
        self.out = zeroed(nn.Linear(d_model, out))

    def forward(self, x_BLD: Tensor, c_BD: Tensor) -> Tensor:
        return self.out(self.norm(x_BLD))

    def flops(self, L: int) -> int:
        return 2 * L * self.out.weight.numel()


class TimeHead(nn.Module):
    """out(silu(W norm(x) + U c)): the condition enters only here, after the backbone."""

    def __init__(self, d_model: int, channels: int, norm: Norm = "layer") -> None:
        super().__init__()
        self.norm = norm_of(norm, d_model)
        self.token = nn.Linear(d_model, d_model)
        self.condition = nn.Linear(d_model, d_model)
        self.out = zeroed(nn.Linear(d_model, channels))

    def forward(self, x_BLD: Tensor, c_BD: Tensor) -> Tensor:
        return self.out(F.silu(self.token(self.norm(x_BLD)) + self.condition(c_BD).unsqueeze(1)))

    def flops(self, L: int) -> int:
        per_token = self.token.weight.numel() + self.out.weight.numel()
        return 2 * L * per_token + 2 * self.condition.weight.numel()


def zeroed(linear: nn.Linear) -> nn.Linear:
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
