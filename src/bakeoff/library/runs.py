"""bo.Run: a run directory to read: its verdict, its numbers, its trained models and their samples."""

from functools import cached_property
from pathlib import Path
from typing import Any

from bakeoff.artefacts.base import Items
from bakeoff.errors import BakeoffError, did_you_mean
from bakeoff.judging.verdicts import sealed_verdict
from bakeoff.library.deciding import row_of
from bakeoff.models.trunk import Trunk
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.verdict import Verdict, headline
from bakeoff.registry import plugins_allowed
from bakeoff.rundir.directory import RunDir, TrialDir
from bakeoff.rundir.sealed import as_sealed
from bakeoff.tasks import Task
from bakeoff.trial.checkpoint import load_model


class Run:
    """A run directory, finished or not; it may be a stranger's, and nothing in it is run.

    Args:
        path: the folder.
        allow_plugins: whether its protocol may name code, which then runs in this process.

    Raises:
        BakeoffError: no run directory, or neither its protocol nor its seal can be read.

    >>> import bakeoff as bo
    >>> run = bo.Run("runs/smoke")
    >>> run.verdict.outcome, run.verdict.winner
    ('all_eliminated', None)
    >>> sorted({row["backbone"] for row in run.rows()})
    ['hybrid', 'mamba', 'transformer']
    """

    def __init__(self, path: str | Path, *, allow_plugins: bool = False) -> None:
        self.path, self.allow_plugins = Path(path), allow_plugins
        self._run, _ = as_sealed(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def __str__(self) -> str:
        return f"{self.path}: {headline(self.verdict)}"

    def _repr_html_(self) -> str:
        return self.verdict._repr_html_()

    @property
    def protocol(self) -> Protocol:
        """The protocol as it was sealed."""
        return self._run.protocol

    @property
    def directory(self) -> RunDir:
        """Its files by name, for those who want more than is offered here."""
        return self._run

    @cached_property
    def verdict(self) -> Verdict:
        """The rule applied to what the directory held when this was first asked; open it again to read it anew.

        Attributes of a verdict: `outcome` ("winner", "inconclusive", "all_eliminated", "compared", "grouped",
        "incomplete"; "deviated" where anything that was sealed has changed), `winner`, `indicative`, `backbones` (each
        with `outcome`, `reason`, `figures`, `intervals`, `costs`), `steps`, `comparisons`, `notes`.

        Raises:
            BakeoffError: a measurement cannot be read.
        """
        with plugins_allowed(self.allow_plugins):
            return sealed_verdict(self.path)[1]

    def rows(self) -> list[dict[str, Any]]:
        """One flat row a finished trial, for `pandas.DataFrame(run.rows())` or `bo.decide(rule, run.rows())`.

        Keys: `backbone`, `seed`, `status`, `passed` (the quality bar), `group`, `items`, and by name every figure and
        cost; step and sampling time are the backbone's, from the probes, where these have run.

        Raises:
            BakeoffError: a measurement cannot be read.

        >>> import bakeoff as bo
        >>> run = bo.Run("runs/smoke")
        >>> row = run.rows()[0]
        >>> row["backbone"], row["seed"], row["passed"], row["recognised"] < 0.8
        ('mamba', 0, False, True)
        >>> bo.decide(run.protocol.rule, run.rows()).outcome == run.verdict.outcome
        True
        """
        return [row_of(record) for result in self.verdict.backbones.values() for record in result.seeds]

    def candidate(self, backbone: str, seed: int | None = None) -> tuple[Trunk, Task]:
        """A trained model, ready to evaluate, and the task whose items it makes.

        Args:
            seed: of its training; None for the first of the protocol's.

        Returns:
            The model, on the CPU and without gradients: `model(x, t_B, labels_B)` maps tokens (B, L, C) float32, or
            (B, L) int64 where the task has symbols, to (B, L, out). And the task: `task.prompts(count)` to generate
            from, `task.items(x, prompts)`, `task.assess(items, prompts)`.

        Raises:
            BakeoffError: no such backbone or seed, not trained yet, or its weights cannot be read.

        >>> import bakeoff as bo, torch
        >>> model, task = bo.Run("runs/smoke").candidate("mamba")
        >>> x = torch.zeros(2, task.space.length, task.space.channels)
        >>> model(x, torch.zeros(2), torch.tensor([3, 7])).shape
        torch.Size([2, 49, 4])
        """
        trial = self._trial(backbone, seed)
        if not trial.model.is_file():
            raise BakeoffError(f"{self.path}: {trial.name} is not trained yet.")
        with plugins_allowed(self.allow_plugins):
            loaded = load_model(trial.model)
        return loaded.model, loaded.task

    def samples(self, backbone: str, seed: int | None = None) -> Items:
        """The items that a trial generated, uncurated and in order, as they were judged.

        Args:
            seed: of its training; None for the first of the protocol's.

        Returns:
            Named arrays with one row an item: `images` (B, H, W) uint8 and `labels` for digits.

        Raises:
            BakeoffError: no such backbone or seed, or no whole samples of it.

        >>> import bakeoff as bo
        >>> items = bo.Run("runs/smoke").samples("mamba", seed=0)
        >>> len(items), items["images"].shape, items["images"].dtype
        (64, (64, 28, 28), dtype('uint8'))
        """
        with plugins_allowed(self.allow_plugins):
            return self._trial(backbone, seed).items()

    def _trial(self, backbone: str, seed: int | None) -> TrialDir:
        names, seeds = [one.name for one in self.protocol.backbones], self.protocol.seeds
        if backbone not in names:
            near = did_you_mean(backbone, names)
            raise BakeoffError(f"{self.path}: no backbone {backbone!r}{near}; it has {', '.join(names)}.")
        if seed is not None and seed not in seeds:
            raise BakeoffError(f"{self.path}: no seed {seed!r}; it has {', '.join(map(str, seeds))}.")
        return self._run.trial(backbone, seeds[0] if seed is None else seed)
