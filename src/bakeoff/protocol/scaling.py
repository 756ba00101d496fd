"""One scale for every comparison: what the rule compares, lower is better, and the margin is a distance.

A value v is scaled to s log v where ratios are compared, and to s v where differences are; s is 1 where lower is better
and -1 where higher is. The rule on points and the rule over seeds both compare scaled values.
"""

import math
from dataclasses import dataclass
from typing import Literal

from bakeoff.protocol.figures import COSTS, Figure
from bakeoff.protocol.sections.rule import Rule

LARGEST_LOG = 700.0


@dataclass(frozen=True)
class Scale:
    """How values of one figure or cost are compared.

    Attributes:
        kind: ratio, whose margin is a share of the better value; difference, whose margin is in the figure's unit.
    """

    figure: Figure
    kind: Literal["ratio", "difference"]
    margin: float

    @property
    def sign(self) -> int:
        return -1 if self.figure.better == "higher" else 1

    @property
    def bound(self) -> float:
        """The margin between scaled values."""
        return math.log1p(self.margin) if self.kind == "ratio" else self.margin

    def scaled(self, value: float) -> float | None:
        """The value on a scale where lower is better; None where it has no ratio to another, as zero."""
        if self.kind == "difference":
            return self.sign * value
        return self.sign * math.log(value) if value > 0 else None

    def threshold(self, best: float) -> float:
        """The worst value that is within the margin of the best."""
        if self.kind == "difference":
            return best + self.sign * self.margin
        return best * (1 + self.margin) ** self.sign

    def within(self, value: float, best: float) -> bool:
        """Whether a value is within the margin of the best."""
        return self.sign * value <= self.sign * self.threshold(best)

    def words(self, scaled: float) -> str:
        """A difference of scaled values as people read it: of the plain values, in percent or in the figure's unit."""
        return f"{self._number(scaled)}{self.unit}"

    def span(self, ends: tuple[float, float]) -> str:
        """An interval of scaled differences, from the lower to the higher plain one; without the unit."""
        low, high = ends[:: self.sign]
        return f"{self._number(low)} to {self._number(high)}"

    def plain(self, scaled: float) -> float:
        """A difference of scaled values as one of plain values: in percent, or in the figure's unit."""
        plain = self.sign * scaled + 0.0  # so that zero is not -0
        return percent_of(plain) if self.kind == "ratio" else plain

    def _number(self, scaled: float) -> str:
        return f"{self.plain(scaled):{'+.2f' if self.kind == 'ratio' else '+.4g'}}"

    @property
    def unit(self) -> str:
        """Of a difference of plain values."""
        unit = "%" if self.kind == "ratio" else self.figure.unit
        return f" {unit}" if unit else ""

    def apart(self, scaled: float) -> str:
        """A distance of scaled values, without a direction."""
        return f"{percent_of(scaled):.1f} %" if self.kind == "ratio" else f"{scaled:.4g}{self.unit}"

    def worse_by(self, scaled: float) -> str:
        """How far a value is behind a better one whose scaled value is lower by `scaled`."""
        if self.kind == "ratio" and self.sign < 0:
            return f"{-percent_of(-scaled):.1f} % below"
        return f"{self.apart(scaled)} {'below' if self.sign < 0 else 'above'}"

    @property
    def margin_words(self) -> str:
        return f"{100 * self.margin if self.kind == 'ratio' else self.margin:g}{self.unit}"


def quality_scale(rule: Rule, figure: Figure) -> Scale:
    return Scale(figure, rule.scale, rule.quality_margin)


def cost_scale(rule: Rule) -> Scale:
    return Scale(COSTS[rule.cost], "ratio", rule.cost_margin)


def tie_break_scale(rule: Rule) -> Scale:
    """Lower at all decides, so there is no margin."""
    return Scale(COSTS[rule.tie_break], "ratio", 0.0)


def percent_of(log_ratio: float) -> float:
    """A ratio's change in percent from its logarithm; endless where it is beyond all numbers."""
    return 100 * math.expm1(log_ratio) if log_ratio < LARGEST_LOG else math.inf
