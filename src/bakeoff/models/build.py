"""Builds a protocol's models: the trunk around their mixers, its size, and the width that meets the budget."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bakeoff.models.backbones import build_mixers, elastic, nominal_widths
from bakeoff.models.matching import Fit, fit_width
from bakeoff.models.trunk import Frame, Trunk
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sections.mixers import Backbone

NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Blueprint:
    """How one candidate is built.

    Attributes:
        frame: everything except the mixers.
        causal: whether mixers read only earlier tokens.
        encoder: makes an encoder of the context, if the task has one.
    """

    protocol: Protocol
    backbone: Backbone
    frame: Frame
    causal: bool = False
    encoder: Callable[[], nn.Module | None] = lambda: None

    def build(self, widths: Mapping[str, int]) -> Trunk:
        """The model at given widths, initialised from torch's global generator."""
        model = self.protocol.model
        mixers = build_mixers(
            self.backbone.layers,
            model.d_model,
            widths,
            self.protocol.mixers.options(),
            model.order,
            causal=self.causal,
            context=self.frame.space.context,
            class_tokens=(self.frame.class_tokens, self.frame.class_tokens_at),
            grid=self.frame.space.grid,
            rope=self.frame.positions == "rope",
            kinds=self.protocol.mixers.kinds,
            combine=self.backbone.combine,
        )
        return Trunk(self.frame, mixers, self.encoder())

    def count(self, widths: Mapping[str, int]) -> int:
        """Number of parameters of the instantiated model; built without memory."""
        return self._outlined(widths).parameter_count()

    def outline(self, widths: Mapping[str, int]) -> dict[str, Tensor]:
        """Names and shapes of the model's tensors, without their memory."""
        return self._outlined(widths).state_dict()

    def _outlined(self, widths: Mapping[str, int]) -> Trunk:
        try:
            with torch.device("meta"):
                return self.build(widths)
        except (NotImplementedError, RuntimeError):  # a plug-in computes on its initial values
            return self.build(widths)

    def nominal(self) -> dict[str, int]:
        """The literature's width of every kind of mixer."""
        return nominal_widths(self.backbone.names, self.protocol.model.d_model, self.protocol.mixers.kinds)

    def fit(self) -> Fit:
        """The backbone at the width that meets the protocol's parameter budget best."""
        return fit_width(
            self.backbone.name,
            self.nominal(),
            elastic(self.backbone.names, self.protocol.mixers.kinds),
            self.count,
            self.protocol.budget.params,
        )


def matrices(model: nn.Module) -> list[nn.Parameter]:
    """The weights of linear maps inside mixers, as each mixer names them; of what it lacks by its options, none."""
    here: dict[int, nn.Parameter] = {}
    for module in model.modules():
        own = dict(module.named_parameters())
        here |= {id(own[name]): own[name] for name in getattr(module, "matrices", ()) if name in own}
    return list(here.values())


def decay_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters with weight decay, and those without: norms, biases, and those that a mixer names."""
    spared: set[int] = set()
    for module in model.modules():
        names = set(getattr(module, "no_decay", ())) | {"bias"}
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, NORMS) or name in names:
                spared.add(id(parameter))
    parameters = list(model.parameters())
    return [p for p in parameters if id(p) not in spared], [p for p in parameters if id(p) in spared]
