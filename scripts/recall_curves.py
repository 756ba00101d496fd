"""The curves of the page of recall: accuracy against bytes of state, and against the share of attention."""

from collections.abc import Iterable, Iterator
from statistics import fmean
from typing import NamedTuple

from matplotlib.figure import Figure

from bakeoff.protocol.measurement import Measurement
from bakeoff.report import figures
from paper_runs import Run

INK, RIGHT = "#1b1f24", "share of right answers"


class Rung(NamedTuple):
    """The answers of one trial to sequences of one number of pairs, with Wilson's interval."""

    run: Run
    trial: Measurement
    pairs: int
    share: float
    low: float
    high: float

    @property
    def has_attention(self) -> bool:
        return self.attention > 0

    @property
    def attention(self) -> float:
        """The share of its layers that are attention, of those that mix tokens."""
        return fmean(name == "attention" for name in self._mixing)

    @property
    def layers(self) -> int:
        """Its layers that mix tokens."""
        return len(self._mixing)

    @property
    def _mixing(self) -> list[str]:
        backbone = next(one for one in self.run.run.protocol.backbones if one.name == self.trial.backbone)
        return [name for name in backbone.names if name != "mlp"]


def rungs(runs: Iterable[Run]) -> Iterator[Rung]:
    """Every finished trial at every number of pairs."""
    for run in runs:
        for trial in run.measured.values():
            if trial.quality is not None:
                detail = trial.quality.detail
                for pairs, *shares in zip(
                    detail["questions"], detail["share_right"], detail["share_low"], detail["share_high"], strict=True
                ):
                    yield Rung(run, trial, round(pairs), *shares)


def against_state(found: list[Rung]) -> bytes:
    """Right answers against bytes of state: a point a trial, squares attention's; and lines through the means of
    Mamba's of one width and number of pairs, whose style is the width's.
    """
    drawn = Figure(figsize=(figures.WIDTH, figures.HEIGHT), layout="constrained")
    axes = drawn.add_subplot(
        xscale="log", xlabel="state at the end of a sequence, bytes", ylabel="share of right answers"
    )
    styles = dict(zip(sorted({width_of(one) for one in found}), ("-", "--", ":", "-."), strict=False))
    for index, pairs in enumerate(sorted({one.pairs for one in found})):
        colour = figures.colour(index)
        here = [one for one in found if one.pairs == pairs]
        axes.plot([], [], color=colour, label=f"{pairs} pairs")
        for width, style in styles.items():
            line = [one for one in here if width_of(one) == width and not one.has_attention]
            sizes = sorted({one.trial.state_bytes for one in line})
            means = [fmean(one.share for one in line if one.trial.state_bytes == size) for size in sizes]
            axes.plot(sizes, means, color=colour, linestyle=style)
        for one in here:
            ends = [[one.share - one.low], [one.high - one.share]]
            marker = "s" if one.has_attention else "o"
            axes.errorbar(one.trial.state_bytes, one.share, ends, fmt=marker, color=colour, capsize=2, markersize=5)
    for width, style in styles.items():
        axes.plot([], [], color=INK, linestyle=style, label=f"width {width}")
    axes.set_ylim(0, 1.03)
    axes.legend(frameon=False)
    return figures.svg(drawn, INK).encode()


def width_of(one: Rung) -> int:
    return one.run.run.protocol.model.d_model


def against_attention(found: list[Rung]) -> bytes:
    """Right answers against the share of layers that are attention: every seed, and a line through their means.

    Backbones of fewer layers than the deepest, which are controls, are stars beside the line.
    """
    drawn = Figure(figsize=(figures.WIDTH, figures.HEIGHT), layout="constrained")
    axes = drawn.add_subplot(xlabel="share of layers that are attention", ylabel=RIGHT)
    deepest = max(one.layers for one in found)
    for index, pairs in enumerate(sorted({one.pairs for one in found})):
        here = [one for one in found if one.pairs == pairs and one.layers == deepest]
        for layers in sorted({one.layers for one in found} - {deepest}):
            stars = [one for one in found if one.pairs == pairs and one.layers == layers]
            places = [one.attention for one in stars], [one.share for one in stars]
            label = f"{layers} layers" if index == 0 else None
            axes.plot(*places, "*", color=figures.colour(index), markersize=11, label=label)
        shares = sorted({one.attention for one in here})
        means = [fmean(one.share for one in here if one.attention == share) for share in shares]
        axes.plot(shares, means, color=figures.colour(index), label=f"{pairs} pairs")
        axes.plot(
            [one.attention for one in here], [one.share for one in here], "o", color=figures.colour(index), alpha=0.6
        )
    axes.set_ylim(0, 1.03)
    axes.legend(frameon=False)
    return figures.svg(drawn, INK).encode()
