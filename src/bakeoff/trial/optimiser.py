"""The optimiser of a training: AdamW alone, or Muon for the matrices inside mixers and AdamW for all else."""

from typing import Any

import torch
from torch import nn

from bakeoff.models.build import decay_groups, matrices
from bakeoff.protocol.schema import Training


class Optimiser:
    """One optimiser or two that step together, at one learning rate.

    Muon [Jordan et al. 2024] steps along the orthogonalised momentum; 0.2 sqrt(larger side) makes such a step as large
    as one of AdamW usually is, so that rate and weight decay are shared [Liu et al. 2025].
    """

    def __init__(self, model: nn.Module, recipe: Training) -> None:
        everything = list(model.parameters())
        rest, spared = decay_groups(model) if recipe.decay == "weights" else (everything, [])
        self.parts: list[torch.optim.Optimizer] = []
        if recipe.optimiser == "muon" and (named := matrices(model)):
            muon = torch.optim.Muon(
                named, lr=recipe.lr, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"
            )
            self.parts.append(muon)
            taken = {id(one) for one in named}
            rest = [one for one in rest if id(one) not in taken]
        groups: list[dict[str, Any]] = [{"params": rest}]
        if spared:
            groups.append({"params": spared, "weight_decay": 0.0})
        adamw = torch.optim.AdamW(
            groups, lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True
        )
        self.parts.append(adamw)

    def set_rate(self, lr: float) -> None:
        for one in self.parts:
            for group in one.param_groups:
                group["lr"] = lr

    def unscale(self, scaler: torch.amp.GradScaler) -> None:
        for one in self.parts:
            scaler.unscale_(one)

    def step(self, scaler: torch.amp.GradScaler) -> None:
        """One step, unless a gradient overflowed in half precision; the gradients are gone after it."""
        for one in self.parts:
            scaler.step(one)
        scaler.update()
        self.forget()

    def forget(self) -> None:
        """Drops the gradients."""
        for one in self.parts:
            one.zero_grad(set_to_none=True)

    def state(self) -> Any:
        """One state dict, or a list of two."""
        states = [one.state_dict() for one in self.parts]
        return states if len(states) > 1 else states[0]

    def restore(self, state: Any) -> None:
        """Takes what `state` gave; raises ValueError if it is another optimiser's."""
        states = state if isinstance(state, list) else [state]
        for one, saved in zip(self.parts, states, strict=True):
            one.load_state_dict(saved)
