"""The report's figures, drawn with matplotlib. Colour-blind readers can tell the colours apart (Okabe and Ito 2008)."""

import io
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, NamedTuple, ParamSpec

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from bakeoff.protocol import figures as measures
from bakeoff.protocol.calls import Reading
from bakeoff.protocol.scaling import Scale
from bakeoff.protocol.sweep import Swept
from bakeoff.protocol.verdict import Comparison

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f")
INK = "#010203"  # stands for the page's own text colour, light or dark
WIDTH, HEIGHT = 6.4, 3.6  # inches
POINTS = 400  # a curve is averaged to at most this many

STYLE: dict[Any, Any] = {
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#888888",
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "font.size": 10,
    "svg.fonttype": "path",
    "svg.hashsalt": "bakeoff",  # the same run gives the same bytes
}


P = ParamSpec("P")


class Bar(NamedTuple):
    """A median with its 10th and 90th percentile."""

    median: float
    p10: float
    p90: float


class Point(NamedTuple):
    """One backbone in the plot of quality against cost; each end of a spread may equal the value."""

    cost: float
    quality: float
    low: float
    high: float
    passes: bool


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    @wraps(draw)
    def drawn(*arguments: P.args, **options: P.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*arguments, **options)

    return drawn


@_styled
def loss_curves(curves: Mapping[str, Sequence[Sequence[float]]], steps_per_epoch: int | None) -> Figure:
    """Training loss of every backbone: the mean over seeds, and a band from the lowest to the highest seed."""
    figure, axes = _axes("epoch" if steps_per_epoch else "step", "training loss")
    for index, (name, seeds) in enumerate(curves.items()):
        finite = [np.asarray(losses, np.float64) for losses in seeds if len(losses)]
        if not finite:
            continue
        length = min(map(len, finite))
        bins = np.array_split(np.arange(length), min(POINTS, length))
        x = np.array([part.mean() + 0.5 for part in bins]) / (steps_per_epoch or 1)
        y = np.array([[losses[part].mean() for part in bins] for losses in finite])
        axes.plot(x, y.mean(0), color=colour(index), label=_plain(name), linewidth=1.6)
        if len(finite) > 1:
            axes.fill_between(x, y.min(0), y.max(0), color=colour(index), alpha=0.25, linewidth=0)
    _log_if_wide(axes, [loss for seeds in curves.values() for losses in seeds for loss in losses])
    _legend(axes)
    return figure


@_styled
def quality_against_cost(points: Mapping[str, Point], quality: measures.Figure, cost: measures.Figure) -> Figure:
    """Quality against cost; the line joins the points that no other point beats in both. Cheaper is further left."""
    figure, axes = _axes(cost.label, f"{quality.label} ({quality.better} is better)")
    sign = -1 if quality.better == "higher" else 1
    front = sorted(
        (one.cost, one.quality)
        for one in points.values()
        if one.passes
        and not any(
            other.passes and other.cost <= one.cost and sign * other.quality <= sign * one.quality and other != one
            for other in points.values()
        )
    )
    if len(front) > 1:
        axes.plot(*zip(*front, strict=True), color="#888888", linestyle="--", linewidth=1, zorder=1)
    for index, (name, one) in enumerate(points.items()):
        spread = [[max(0.0, one.quality - one.low)], [max(0.0, one.high - one.quality)]]
        axes.errorbar(
            one.cost,
            one.quality,
            yerr=spread,
            fmt="o" if one.passes else "x",
            color=colour(index),
            capsize=3,
            markersize=8,
            label=_plain(name) + ("" if one.passes else " (eliminated)"),
        )
    axes.margins(0.15)
    _legend(axes)
    return figure


@_styled
def differences(pairs: Sequence[Comparison], scale: Scale) -> Figure:
    """Pair by pair, the difference in quality with its interval, against the margin; full where it is settled."""
    figure, axes = _axes(", ".join(filter(None, (f"difference in {scale.figure.title}", scale.unit.strip()))), "")
    figure.set_size_inches(WIDTH, 1.1 + 0.34 * len(pairs))
    axes.axvspan(*sorted(scale.plain(end) for end in (-scale.bound, scale.bound)), color="#888888", alpha=0.18, lw=0)
    axes.axvline(0, color="#888888", linewidth=1)
    for place, one in enumerate(pairs):
        settled = one.outcome != "inconclusive"
        shade = COLOURS[0] if settled else "#888888"
        if one.interval is not None:
            axes.plot([scale.plain(end) for end in one.interval], [place, place], color=shade, linewidth=2)
        if one.difference.seeds:
            axes.plot(
                scale.plain(one.difference.mean), place, "o", color=shade, fillstyle="full" if settled else "none"
            )
    axes.set_yticks(range(len(pairs)), [_plain(f"{one.first} against {one.second}") for one in pairs])
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    return figure


@_styled
def step_times(bars: Mapping[str, Bar]) -> Figure:
    """Median step time, with the 10th to the 90th percentile of its rounds."""
    figure, axes = _axes("step time, ms (forward + backward)", "")
    for index, (name, bar) in enumerate(bars.items()):
        spread = [[max(0.0, bar.median - bar.p10)], [max(0.0, bar.p90 - bar.median)]]
        axes.barh(_plain(name), bar.median, color=colour(index), xerr=spread, capsize=3, ecolor=INK)
        axes.annotate(f" {bar.median:.3g}", (max(bar.p90, bar.median), index), va="center")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.12)
    return figure


@_styled
def sweep_losses(found: Swept) -> Figure:
    """Held-out loss of every backbone at every value of the swept key; the value that it keeps has a ring."""
    figure, axes = _axes(found.key, f"{measures.HELD_OUT.title} (lower is better)")
    for index, (name, one) in enumerate(found.choices.items()):
        points = {
            value: loss for value, loss in zip(found.values, one.losses, strict=True) if not isinstance(loss, str)
        }
        axes.plot([*points], [*points.values()], "o-", color=colour(index), label=_plain(name), markersize=4)
        if one.value in points:
            axes.plot(one.value, points[one.value], "o", color=colour(index), markersize=11, fillstyle="none")
    if found.values[0] > 0:
        axes.set_xscale("log")
    _log_if_wide(axes, [loss for one in found.choices.values() for loss in one.losses if not isinstance(loss, str)])
    _legend(axes)
    return figure


@_styled
def quality_against_calls(reading: Reading, colours: Mapping[str, int]) -> Figure:
    """The figure that is compared over numbers of calls, one line a backbone; a ring where half of its seeds have
    passed the bar."""
    shown = reading.figures[-1] if reading.equal is None else reading.equal.figure
    figure, axes = _axes("calls of the network a path", f"{shown.label} ({shown.better} is better)")
    axes.set_xscale("log")
    for name, index in colours.items():
        rows = [row for row in reading.rows if row.backbone == name and shown.name in row.figures]
        if not rows:
            continue
        axes.plot(
            [row.calls for row in rows],
            [row.figures[shown.name] for row in rows],
            "o-",
            color=colour(index),
            label=_plain(name),
            markersize=4,
        )
        passed = next((row for row in rows if 2 * row.passed >= row.seeds), None)
        if passed is not None:
            place = passed.calls, passed.figures[shown.name]
            axes.plot(*place, "o", color=colour(index), markersize=11, fillstyle="none", markeredgewidth=1.6)
    if reading.equal is not None:
        axes.axhline(reading.equal.limit, color="#888888", linestyle="--", linewidth=1)
    ticks = list(dict.fromkeys(row.calls for row in sorted(reading.rows, key=lambda row: row.calls)))
    axes.set_xticks(ticks, [str(one) for one in ticks])
    axes.minorticks_off()
    _log_if_wide(axes, [row.figures[shown.name] for row in reading.rows if shown.name in row.figures])
    _legend(axes)
    return figure


def svg(figure: Figure, ink: str = "currentColor") -> str:
    """An SVG element; its text and axes have the page's colour, or another."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(INK, ink)


def pdf(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context({**STYLE, "pdf.fonttype": 42}):
        figure.savefig(buffer, format="pdf", transparent=True, metadata={"CreationDate": None})
    return buffer.getvalue()


def _axes(x_label: str, y_label: str):
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return figure, axes


def _log_if_wide(axes, losses: Sequence[float]) -> None:
    """A logarithmic scale where a linear one would hide the small losses."""
    positive = [loss for loss in losses if loss > 0]
    if positive and max(positive) > 20 * min(positive):
        axes.set_yscale("log")


def _legend(axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def _plain(name: str) -> str:
    """The text with dollar signs escaped, because one would begin a formula."""
    return name.replace("$", r"\$")


def finite(values: Sequence[float]) -> list[float]:
    """Losses up to the first that is not finite."""
    return list(itertools.takewhile(math.isfinite, values))
