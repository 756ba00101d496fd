"""The trunk that all candidates share: embedding, positions, a backbone of conditioned branches, and a head.

Shapes: B items, L tokens, K context tokens, C values a token, D = d_model, O values out a token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bakeoff.errors import BakeoffError
from bakeoff.models import costs
from bakeoff.models.batch import Batch
from bakeoff.models.conditioning import (
    AdaLNBranch,
    AdaLNHead,
    ClassTokens,
    Condition,
    Conditioning,
    Norm,
    PlainBranch,
    PlainHead,
    TimeHead,
    sinusoidal,
    zeroed,
)
from bakeoff.models.reader import Reader, unable
from bakeoff.protocol.space import Space

Positions = Literal["none", "sinusoidal", "learned", "rope"]
SYMBOL_SPREAD = 0.02  # of the initial embeddings of symbols, and of learned positions [Radford et al. 2019]


@dataclass(frozen=True)
class Frame:
    """Everything in a model except its mixers: the same for every backbone of one task and objective.

    Attributes:
        out: number of values that the model gives for a token.
        times: how many numbers the model gets besides the tokens; 0 or 1.
        symbols: number of extra symbols besides the vocabulary.
        norm: of every branch and of the head.
        bottleneck: width between two linear maps that embed tokens of numbers [JiT, Li and He 2025]; 0: one map.
        class_tokens: tokens that say the class, read before all others from the branch `class_tokens_at` on [ibid.].
    """

    space: Space
    d_model: int
    positions: Positions
    conditioning: Conditioning
    out: int
    times: int = 1
    symbols: int = 0
    norm: Norm = "layer"
    bottleneck: int = 0
    class_tokens: int = 0
    class_tokens_at: int = 0

    @property
    def tokens(self) -> int:
        """K + L, the tokens that all mixers read."""
        return self.space.context + self.space.length

    def tokens_of(self, branch: int) -> int:
        """Those, and the class tokens where they have come."""
        return self.tokens + (self.class_tokens if branch >= self.class_tokens_at else 0)


class Trunk(nn.Module):
    """Maps tokens, and what is known about them, to O values a token.

    The context is a prefix: it is read before the tokens, and every order permutes only the tokens. Learned nulls
    replace an item's label and context if these are hidden.
    """

    def __init__(self, frame: Frame, mixers: Sequence[nn.Module], encoder: nn.Module | None = None) -> None:
        super().__init__()
        self.frame = frame
        space, D = frame.space, frame.d_model
        conditioned = frame.times > 0 or space.classes > 0
        adaln, single = frame.conditioning != "head", frame.conditioning == "adaln-single"
        self.embed: nn.Module
        if space.vocabulary and frame.bottleneck:
            raise BakeoffError(
                f"model.bottleneck = {frame.bottleneck}: the tokens of this task are symbols; allowed: 0."
            )
        if space.vocabulary:
            self.embed = nn.Embedding(space.vocabulary + frame.symbols, D)
            nn.init.normal_(self.embed.weight, std=SYMBOL_SPREAD)
        elif frame.bottleneck:
            narrow = nn.Linear(space.channels, frame.bottleneck, bias=False)
            self.embed = nn.Sequential(narrow, nn.Linear(frame.bottleneck, D))
        else:
            self.embed = nn.Linear(space.channels, D)
        self.positions: Tensor | None
        if frame.positions == "learned":
            self.positions = nn.Parameter(SYMBOL_SPREAD * torch.randn(frame.tokens, D))
        elif frame.positions == "sinusoidal":
            self.register_buffer("positions", sinusoidal(torch.arange(frame.tokens), D), persistent=False)
        else:
            self.positions = None
        self.condition = Condition(D, space.classes, frame.times > 0)
        if frame.class_tokens and (not space.classes or frame.class_tokens_at >= len(mixers)):
            why = f"a backbone has {len(mixers)} branches" if space.classes else "the items of this task have no labels"
            raise BakeoffError(
                f"model.class_tokens = {frame.class_tokens} before branch {frame.class_tokens_at}: {why}."
            )
        self.class_tokens = ClassTokens(frame.class_tokens, D) if frame.class_tokens else None
        self.modulation = zeroed(nn.Linear(D, 3 * D)) if conditioned and single else None
        self.branches = nn.ModuleList(
            AdaLNBranch(mixer, D, frame.norm, single=single)
            if conditioned and adaln
            else PlainBranch(mixer, D, frame.norm)
            for mixer in mixers
        )
        head = (AdaLNHead if adaln else TimeHead) if conditioned else PlainHead
        self.head = head(D, frame.out, frame.norm)
        self.encoder = encoder
        self.context: nn.Module | None = None
        self.no_context: nn.Parameter | None = None
        if space.context:
            if encoder is None and space.context_channels:
                self.context = nn.Linear(space.context_channels, D)
            self.no_context = nn.Parameter(torch.zeros(D))

    def forward(
        self,
        x: Tensor,
        t_B: Tensor | None = None,
        labels_B: Tensor | None = None,
        context: Tensor | None = None,
        hidden_B: Tensor | None = None,
    ) -> Tensor:
        """The model's values, (B, L, O).

        Args:
            x: (B, L, C) float32, or (B, L) int64 symbols; -1, -2, ... are symbols beyond the vocabulary.
            t_B: times in [0, 1], if the objective has times.
            labels_B: int64; None hides all labels.
            context: (B, K, C') float32 or (B, K) int64; None hides every context.
            hidden_B: bool, items whose label and context are hidden.
        """
        h_BLD = self.embedded(x)
        if self.frame.space.context:
            h_BLD = torch.cat([self.prefix(len(x), context, hidden_B), h_BLD], 1)
        h_BLD = self.placed(h_BLD)
        labels_B = self.hidden_labels(labels_B, hidden_B)
        c_BD = self.condition(x, t_B, labels_B)
        read_BC = self.for_branches(c_BD)
        for i, branch in enumerate(self.branches):
            if self.class_tokens is not None and i == self.frame.class_tokens_at:
                h_BLD = torch.cat([self.class_tokens(self.condition.embedded_class(len(x), labels_B)), h_BLD], 1)
            h_BLD = branch(h_BLD, read_BC)
        return self.head(h_BLD[:, self.frame.space.context + self.frame.class_tokens :], c_BD)

    def for_branches(self, c_BD: Tensor) -> Tensor:
        """What every branch reads of the condition: itself, or what the one map makes of it, (B, 3 D)."""
        return c_BD if self.modulation is None else self.modulation(F.silu(c_BD))

    def embedded(self, x: Tensor) -> Tensor:
        """Tokens without their positions, (B, L, D)."""
        return self.embed(x.remainder(self.embed.num_embeddings) if isinstance(self.embed, nn.Embedding) else x)

    def placed(self, h_BLD: Tensor, first: int = 0) -> Tensor:
        """Embedded tokens with their positions, which begin at `first`, added."""
        return h_BLD if self.positions is None else h_BLD + self.positions[first : first + h_BLD.shape[1]]

    def hidden_labels(self, labels_B: Tensor | None, hidden_B: Tensor | None) -> Tensor | None:
        """The labels, with the label that means "hidden" where one is hidden."""
        if labels_B is None or hidden_B is None:
            return labels_B
        return labels_B.masked_fill(hidden_B, self.frame.space.classes)

    def prefix(self, B: int, context: Tensor | None, hidden_B: Tensor | None) -> Tensor:
        """The embedded context, (B, K, D)."""
        assert self.no_context is not None
        none_BKD = self.no_context.expand(B, self.frame.space.context, -1)
        if context is None:
            return none_BKD
        given_BKD = (self.encoder or self.context or self.embedded)(context)
        return given_BKD if hidden_B is None else torch.where(hidden_B[:, None, None], none_BKD, given_BKD)

    def reader(self, prompts: Batch) -> Reader | None:
        """A reader of so many items, token by token, of a causal trunk; None if `why_no_reader`."""
        return None if self.why_no_reader() else Reader(self, prompts)

    def why_no_reader(self) -> str:
        """Which mixers cannot go on token by token, and why; empty if all can."""
        return unable([branch.mixer for branch in self.residual_branches()])

    def parameter_count(self) -> int:
        """Parameters of the trunk and its mixers; an encoder of the context is counted separately."""
        encoder = 0 if self.encoder is None else sum(p.numel() for p in self.encoder.parameters())
        return sum(p.numel() for p in self.parameters()) - encoder

    def flops(self) -> int:
        """FLOPs of one item's forward pass: matrix products, convolutions and scans."""
        D, frame = self.frame.d_model, self.frame
        shared = 0 if self.modulation is None else 2 * self.modulation.weight.numel()
        trunk = self._embedding_flops() + self.condition.flops() + shared + self.head.flops(frame.space.length)
        branches = enumerate(self.residual_branches())
        return trunk + sum(one.flops() + costs.flops(one.mixer, frame.tokens_of(i), D) for i, one in branches)

    def _embedding_flops(self) -> int:
        space = self.frame.space
        maps = [one for one in self.embed.modules() if isinstance(one, nn.Linear)]
        tokens = 2 * space.length * sum(one.weight.numel() for one in maps)
        context = 2 * space.context * self.context.weight.numel() if isinstance(self.context, nn.Linear) else 0
        return tokens + context

    def state_bytes(self) -> int:
        """Bytes that generation token by token would keep, for all mixers together, in float32."""
        D, frame = self.frame.d_model, self.frame
        return sum(
            costs.state_bytes(one.mixer, frame.tokens_of(i), D) for i, one in enumerate(self.residual_branches())
        )

    def residual_branches(self) -> list[AdaLNBranch | PlainBranch]:
        return list(self.branches)  # type: ignore[arg-type]
