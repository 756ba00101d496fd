"""What a sweep found: which value each backbone keeps, and whether the list was wide enough to tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bakeoff.protocol.sections.sweep import DIVERGED, Sweep


@dataclass(frozen=True)
class Choice:
    """What one backbone keeps.

    Attributes:
        value: the one with the lowest held-out loss, the lower one of equals; the lowest of all if every one diverged.
        losses: held out, at each value of the sweep; the mean of its seeds; "diverged" where training did on any.
        diverged: the share of the values that did.
        at_end: the best value is the lowest or the highest of the list, so that a better one may lie beyond it.
    """

    value: float
    losses: tuple[float | str, ...]
    diverged: float
    at_end: bool

    @property
    def none_trained(self) -> bool:
        return self.diverged == 1


@dataclass(frozen=True)
class Swept:
    """The whole sweep, as the verdict shows it.

    Attributes:
        choices: by backbone.
        run: digest of the earlier run that found them; None if this run did.
    """

    key: str
    values: tuple[float, ...]
    seeds: tuple[int, ...]
    choices: dict[str, Choice]
    run: str | None = None

    @property
    def on_seeds(self) -> str:
        """The seeds in words, and what they make of a value."""
        if len(self.seeds) == 1:
            return f"seed {self.seeds[0]}"
        return f"seeds {', '.join(map(str, self.seeds))} (mean)"

    def warnings(self) -> list[str]:
        """What the list cannot answer, in words."""
        found = []
        for name, one in self.choices.items():
            if one.none_trained:
                found.append(f"{name} diverged at every value of {self.key}; it is trained with {one.value:g}")
            elif one.at_end:
                end = "lowest" if one.value == self.values[0] else "highest"
                found.append(
                    f"{name} is best at {self.key} = {one.value:g}, the {end} of the list: a better value may lie "
                    "beyond it; widen sweep.values"
                )
        return found


def expected(losses: Sequence[float | str]) -> float | str:
    """What a value gave on several seeds: their mean, since the verdict's are others; none may diverge.

    The worst seed would not do where a backbone learns on some seeds and not on others: a value that never works would
    be kept before one that works on half of them.
    """
    finite = [loss for loss in losses if not isinstance(loss, str)]
    return fmean(finite) if len(finite) == len(losses) else DIVERGED


def choice(values: Sequence[float], losses: Sequence[float | str]) -> Choice:
    """The best of the values, given the held-out loss of each."""
    finished = {i: loss for i, loss in enumerate(losses) if not isinstance(loss, str)}
    best = min(finished, key=lambda i: finished[i], default=0)
    at_end = bool(finished) and best in (0, len(values) - 1)
    return Choice(values[best], tuple(losses), losses.count(DIVERGED) / len(losses), at_end)


def swept(sweep: Sweep, losses: Mapping[str, Sequence[float | str]], run: str | None = None) -> Swept:
    """What these losses, by backbone, make of a sweep."""
    choices = {name: choice(sweep.values, tried) for name, tried in losses.items()}
    return Swept(sweep.key, sweep.values, sweep.seeds, choices, run)
