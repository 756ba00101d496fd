"""A causal trunk that reads on: a few tokens at a time, or one, each time from where it stopped.

Shapes: B items, L tokens, K context tokens, D = d_model, O values out a token.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bakeoff.models.batch import Batch
from bakeoff.models.mixers.base import step, steps
from bakeoff.models.parallel import alone

if TYPE_CHECKING:
    from bakeoff.models.trunk import Trunk


def unable(mixers: list[nn.Module]) -> str:
    """Why these mixers cannot go on token by token; empty if they can."""
    names = sorted({type(mixer).__name__ for mixer in alone(mixers) if not steps(mixer)})
    return f"{', '.join(names)}: no start and prefill, so it cannot go on token by token" if names else ""


class Reader:
    """What a trunk gives for tokens that come one after the other: the same as if it read them all at once.

    Args:
        trunk: a causal one, all of whose mixers can go on token by token.
        prompts: how many items, and their labels and contexts, if they have any; a context is read at once.
    """

    def __init__(self, trunk: "Trunk", prompts: Batch) -> None:
        self.trunk, self.read_tokens, B = trunk, 0, prompts.items()
        self._states: list[Any] = [branch.mixer.start(B) for branch in trunk.residual_branches()]  # type: ignore[operator]
        placed = torch.empty(B, 0, device=next(trunk.parameters()).device)
        labels_B = trunk.hidden_labels(prompts.labels_B, prompts.hidden_B)
        self._c_BD = trunk.condition(placed, None, labels_B)
        self._read_BC = trunk.for_branches(self._c_BD)
        if trunk.class_tokens is not None:
            tokens_BKD = trunk.class_tokens(trunk.condition.embedded_class(B, labels_B))
            self._branches(tokens_BKD, trunk.frame.class_tokens_at)
        if trunk.frame.space.context:
            self._through(trunk.prefix(B, prompts.context, prompts.hidden_B))

    def read(self, x: Tensor) -> Tensor:
        """The next L tokens, (B, L) symbols or (B, L, C) numbers, to (B, L, O)."""
        return self.trunk.head(self._through(self.trunk.embedded(x)), self._c_BD)

    def _through(self, h_BLD: Tensor) -> Tensor:
        first, self.read_tokens = self.read_tokens, self.read_tokens + h_BLD.shape[1]
        return self._branches(self.trunk.placed(h_BLD, first))

    def _branches(self, h_BLD: Tensor, first: int = 0) -> Tensor:
        """Through the branches from `first` on."""
        for i, branch in enumerate(self.trunk.residual_branches()[first:], first):

            def mix(normed_BLD: Tensor, i: int = i, mixer: nn.Module = branch.mixer) -> Tensor:
                if normed_BLD.shape[1] == 1:
                    y_BD, self._states[i] = step(mixer, normed_BLD.squeeze(1), self._states[i])
                    return y_BD.unsqueeze(1)
                y_BLD, self._states[i] = mixer.prefill(normed_BLD, self._states[i])  # type: ignore[operator]
                return y_BLD

            h_BLD = branch.around(mix, h_BLD, self._read_BC)
        return h_BLD
