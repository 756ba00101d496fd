"""The protocol: one frozen, typed record of everything that decides a bake-off.

Two protocols with equal digests are the same experiment. Every field has its unit and meaning beside it.
"""

from typing import Any, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from bakeoff.errors import did_you_mean, printable
from bakeoff.protocol import seal
from bakeoff.protocol.figures import LOSS, figures_of
from bakeoff.protocol.formats import FORMAT, without_added
from bakeoff.protocol.sections.bar import Bar
from bakeoff.protocol.sections.base import PlugIn, Section
from bakeoff.protocol.sections.codecs import Codec, check_codec
from bakeoff.protocol.sections.mixers import Backbone, Mixers
from bakeoff.protocol.sections.objectives import Flow, Objective
from bakeoff.protocol.sections.rule import Rule
from bakeoff.protocol.sections.sampling import Sampling, of_objective
from bakeoff.protocol.sections.sweep import Sweep
from bakeoff.protocol.sections.tasks import ImageTask, Mnist, Task
from bakeoff.protocol.sweep import Swept, swept
from bakeoff.registry import CODECS, MIXERS, OBJECTIVES, TASKS

UNSWEPT = ("name", "description", "seeds", "sampling", "bar", "rule")  # what a held-out loss does not depend on


class Model(Section):
    """The trunk that all backbones share."""

    d_model: int = Field(default=64, ge=8, le=4096, description="width of a token inside the trunk")
    order: Literal["raster", "reverse", "alternating", "bidirectional", "cross"] = Field(
        default="raster",
        description="order in which directional mixers read the tokens; alternating: layer by layer; cross: both ways "
        "along every axis of a grid, summed",
    )
    positions: Literal["none", "sinusoidal", "learned", "rope"] = Field(
        default="sinusoidal",
        description="rope: inside the mixers that compare places, such as attention; others get none",
    )
    norm: Literal["layer", "rms"] = Field(default="layer", description="of every residual branch and of the head")
    bottleneck: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="width between two linear maps that embed a token of numbers; 0: one map; symbols have none",
    )
    class_tokens: int = Field(
        default=0, ge=0, le=1024, description="tokens that say the class, read before all others, whatever the order"
    )
    class_tokens_at: int = Field(
        default=0, ge=0, le=16_384, description="the branch, counted from 0, before which they come; dropped at the end"
    )
    conditioning: Literal["adaln", "adaln-single", "head"] = Field(
        default="adaln",
        description="adaLN-zero in every residual branch; the same from one map for all of them; or time (and class) "
        "only in the head",
    )


class Budget(Section):
    """The parameter count that every backbone is widened to."""

    params: int = Field(ge=1_000, le=10_000_000_000)
    tolerance: float = Field(default=1.10, ge=1.0, le=2.0, description="largest count over smallest, at most")


class Training(Section):
    """One recipe for all backbones."""

    optimiser: Literal["adamw", "muon"] = Field(
        default="adamw",
        description="muon: the weights of linear maps inside mixers, as each mixer names them, by torch.optim.Muon at "
        "0.2 sqrt(larger side) times the rate, as large as a step of AdamW; all else by AdamW",
    )
    lr: float = Field(default=1e-3, gt=0, le=1)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    decay: Literal["all", "weights"] = Field(
        default="all",
        description="what weight decay shrinks: all parameters, or weights alone (not A_log, dt_bias, D and what else "
        "a mixer names, nor norms and biases)",
    )
    clip: float = Field(
        default=1.0, gt=0, description="largest norm of the gradient; larger ones are scaled down to it"
    )
    batch: int = Field(default=256, ge=1, le=65_536, description="items a step; the last, smaller batch is kept")
    epochs: int | None = Field(default=None, ge=1, le=100_000, description="give epochs or steps, not both")
    steps: int | None = Field(default=None, ge=1, le=100_000_000)
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32", description="fp32, or autocast; fp16 with gradient scaling"
    )
    ema: float = Field(default=0.0, ge=0, lt=1, description="decay of the averaged weights that are sampled; 0 is off")
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = Field(default=0, ge=0, description="steps of linear warm-up")

    @model_validator(mode="after")
    def _length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas = {self.betas}; allowed: each in [0, 1)")
        return self


class Protocol(Section):
    """A whole bake-off, before the first step."""

    format: int = Field(default=FORMAT, ge=FORMAT, le=FORMAT, description="of the protocol; older ones are read, too")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,60}$")
    description: str = Field(default="", max_length=2000)
    seeds: tuple[int, ...] = Field(min_length=1, max_length=1000)
    plugins: tuple[str, ...] = Field(
        default=(),
        max_length=64,
        description="modules to import that register mixers, tasks or other parts; needs --allow-plugins",
    )
    task: Task = Mnist()
    codec: Codec | None = None
    objective: Objective = Flow()
    model: Model = Model()
    mixers: Mixers = Mixers.model_validate({})
    backbones: tuple[Backbone, ...] = Field(min_length=1, max_length=64)
    budget: Budget
    training: Training
    sweep: Sweep | None = Field(default=None, description="left out: all backbones have one recipe")
    sampling: Sampling = Field(default={}, validate_default=True)
    bar: Bar
    rule: Rule = Field(default=Rule(), validate_default=True)

    @field_validator("sampling", mode="before")
    @classmethod
    def _sampling_follows_objective(cls, given: Any, others: ValidationInfo) -> Any:
        """A section without a kind is of the kind by which the objective's items are made."""
        return of_objective(given, others.data.get("objective"))

    @field_validator("rule")
    @classmethod
    def _evidence_follows_seeds(cls, rule: Rule, given: ValidationInfo) -> Rule:
        """What is sealed says outright on which evidence it decides."""
        return rule.over(len(given.data["seeds"])) if "seeds" in given.data else rule

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if printable(self.description) != self.description:
            raise ValueError("description: control characters are not allowed")
        names = [backbone.name for backbone in self.backbones]
        if len(set(names)) < len(names):
            raise ValueError(f"backbones: names must differ, given {', '.join(names)}")
        if len(set(self.seeds)) < len(self.seeds) or not all(0 <= seed < 2**31 for seed in self.seeds):
            raise ValueError(f"seeds = {list(self.seeds)}; allowed: different whole numbers in [0, 2^31)")
        self._check_parts()
        self._check_mixers()
        self._check_figures()
        if self.training.epochs and self.steps_per_epoch is None:
            raise ValueError("training.epochs: the items of this task have no end; give training.steps")
        if self.training.warmup >= self.total_steps:
            raise ValueError(
                f"training.warmup = {self.training.warmup}; allowed: less than the {self.total_steps} steps of training"
            )
        self._check_heads()
        self._check_sweep()
        self.check_sampling()
        for backbone in self.backbones:
            self.of(backbone).check_sampling()
        return self

    def _check_parts(self) -> None:
        """Names of tasks, codecs and objectives that may be a plug-in's; and a codec where the task needs one."""
        own = [(f"backbones.{i}.objective", one.objective, OBJECTIVES) for i, one in enumerate(self.backbones)]
        for name, part, registry in (
            ("task", self.task, TASKS),
            ("codec", self.codec, CODECS),
            ("objective", self.objective, OBJECTIVES),
            *own,
        ):
            if isinstance(part, PlugIn):
                try:
                    registry.check(part.kind, self.plugins)
                except ValueError as error:
                    raise ValueError(f"{name}.kind: {error}") from None
        if self.task.needs_codec and self.codec is None:
            raise ValueError(f"codec: missing; task {self.task.kind} needs one: {', '.join(CODECS.built_in)}")
        if isinstance(self.task, ImageTask) and self.codec is not None:
            check_codec(self.codec, self.task)

    def check_sampling(self) -> None:
        """Raises ValueError for a sampling section that does not go with objective and task."""
        made = self.objective.sampling
        if made is not None and self.sampling.kind != made:
            raise ValueError(
                f"sampling.kind = {self.sampling.kind}; allowed with objective {self.objective.kind}: {made}"
            )
        if not getattr(self.objective, "noisy", True) and getattr(self.sampling, "noise_share", 0):
            raise ValueError(
                'sampling.solver = "ancestral" and sampling.eta draw noise on the way: they are of objective ddpm'
            )
        guided = self.sampling.guidance != 1.0
        if self.task.prompted is False and (guided or self.objective.hides_prompts):
            raise ValueError(
                "objective.condition_dropout and sampling.guidance need labels; "
                "set task.conditional = true, or condition_dropout = 0 and guidance = 1"
            )
        if guided and not self.guidable:
            raise ValueError(
                f"sampling.guidance = {self.sampling.guidance} needs a model that has seen no label; "
                "set objective.condition_dropout above 0"
            )

    def _check_sweep(self) -> None:
        """Every value must be one of a whole recipe; what was found must be of these backbones and values."""
        if (sweep := self.sweep) is None:
            return
        if sweep.name in self.training.model_fields_set:
            raise ValueError(
                f"{sweep.key}: chosen by the sweep, one value for each backbone; leave it out, or remove [sweep] "
                "(--set sweep=none)"
            )
        if any(low >= high for low, high in zip(sweep.values, sweep.values[1:], strict=False)):
            raise ValueError(f"sweep.values = {list(sweep.values)}; allowed: different numbers from low to high")
        if sweep.seed in self.seeds:
            raise ValueError(f"sweep.seed = {sweep.seed}: one of seeds; the values must be chosen on another")
        if {*sweep.more_seeds} & {*self.seeds, sweep.seed} or len({*sweep.more_seeds}) < len(sweep.more_seeds):
            raise ValueError(
                f"sweep.more_seeds = {list(sweep.more_seeds)}; allowed: different numbers, none of seeds or sweep.seed"
            )
        for value in sweep.values:
            try:
                recipe = self.at(value).training
            except ValidationError as error:
                raise ValueError(f"sweep.values: {sweep.key} = {value:g}: {error.errors()[0]['msg']}") from None
            if recipe.warmup >= self.total_steps:
                raise ValueError(f"sweep.values: {sweep.key} = {value:g}: no less than the {self.total_steps} steps")
        if sweep.found is not None:
            names = [backbone.name for backbone in self.backbones]
            if set(sweep.found.losses) != set(names):
                raise ValueError(
                    f"sweep.found.losses: of {', '.join(sweep.found.losses)}; the backbones are {', '.join(names)}; "
                    "have the sweep run again (--set sweep.found=none), or do without "
                    f"(--set sweep=none --set {sweep.key}=...)"
                )
            if any(len(losses) != len(sweep.values) for losses in sweep.found.losses.values()):
                raise ValueError(f"sweep.found.losses: allowed: one for each of the {len(sweep.values)} sweep.values")

    def _check_figures(self) -> None:
        """What the bar and the rule name; the figures of a plug-in's task are known to the plan only."""
        if (figures := figures_of(self.task.kind)) is not None:
            self.bar.check_thresholds(figures)
            self.rule.check_quality({"loss": LOSS, **figures})
        if self.task.prompted is False and "asked_for" in {*self.bar.thresholds, self.rule.quality}:
            raise ValueError("asked_for: nothing is asked for; set task.conditional = true, or name another figure")
        names = [backbone.name for backbone in self.backbones]
        if self.rule.against is not None and self.rule.against not in names:
            near = did_you_mean(self.rule.against, names)
            raise ValueError(f"rule.against = {self.rule.against}: no such backbone{near}; allowed: {', '.join(names)}")

    def _check_heads(self) -> None:
        kinds, options = self.mixers.kinds, self.mixers.options()
        for name in {name for backbone in self.backbones for name in backbone.names}:
            heads = options.get(name, {}).get("heads")
            if kinds.get(name, name) == "attention" and isinstance(heads, int) and self.model.d_model % heads:
                raise ValueError(f"mixers.{name}.heads = {heads} does not divide model.d_model = {self.model.d_model}")

    def _check_mixers(self) -> None:
        versions = self.mixers.kinds
        for i, backbone in enumerate(self.backbones):
            for name in dict.fromkeys(backbone.names):
                try:
                    MIXERS.check(versions.get(name, name), self.plugins)
                except ValueError as error:
                    raise ValueError(f"backbones.{i}.mixers: {error}") from None
        used = {name for backbone in self.backbones for name in backbone.names}
        for name in self.mixers.__pydantic_extra__ or {}:
            if name not in used:
                known = dict.fromkeys([*MIXERS.built_in, *sorted(used)])
                raise ValueError(
                    f"mixers.{name}: options of a mixer that is not used{did_you_mean(name, known)}; "
                    f"allowed here: {', '.join(known)}"
                )

    def of(self, backbone: Backbone) -> "Protocol":
        """The protocol as this backbone is trained and sampled: with its own objective and sampling, if it has any."""
        found = self.swept
        one = self if found is None else self.at(found.choices[backbone.name].value)
        if backbone.objective is None and backbone.sampling is None:
            return one
        sampling = (backbone.sampling or self.sampling).model_copy(update={"count": self.sampling.count})
        return one.model_copy(update={"objective": backbone.objective or self.objective, "sampling": sampling})

    def at(self, value: float) -> "Protocol":
        """The protocol with this value of the swept key, and without a sweep.

        Raises:
            ValidationError: the recipe cannot have such a value.
        """
        assert self.sweep is not None
        given = {**self.training.model_dump(), self.sweep.name: value}
        return self.model_copy(update={"training": Training.model_validate(given), "sweep": None})

    @property
    def to_try(self) -> tuple[tuple[float, int], ...]:
        """Values and seeds that a run begins with, each with all backbones; none if there is no sweep, or an earlier
        run has it."""
        if self.sweep is None or self.sweep.found is not None:
            return ()
        return tuple((value, seed) for value in self.sweep.values for seed in self.sweep.seeds)

    @property
    def swept(self) -> Swept | None:
        """What an earlier run of the sweep found; None if there is none."""
        if self.sweep is None or (found := self.sweep.found) is None:
            return None
        return swept(self.sweep, found.losses, found.run)

    @property
    def recipe(self) -> str:
        """SHA-256 of all that decides what a sweep finds, hex."""
        document = {key: value for key, value in self.document().items() if key not in UNSWEPT}
        document["sweep"] = {key: value for key, value in document.get("sweep", {}).items() if key != "found"}
        return seal.digest(document)

    def groups(self) -> dict[str, str]:
        """Backbone -> the name of its objective, with the options in which others of the same kind differ from it."""
        own = {one.name: self.of(one).objective for one in self.backbones}
        options = [(one.kind, one.model_dump(exclude={"kind"})) for one in dict.fromkeys(own.values())]

        def named(one: Objective) -> str:
            kin = [given for kind, given in options if kind == one.kind]
            mine = one.model_dump(exclude={"kind"})
            told = [f"{key} {value}" for key, value in mine.items() if any(other.get(key) != value for other in kin)]
            return " ".join([one.kind, ", ".join(told)]).strip()

        return {name: named(one) for name, one in own.items()}

    @property
    def guidable(self) -> bool:
        """Whether the models have learned what to do where label and context are hidden."""
        return self.objective.hides_prompts is not False

    @property
    def steps_per_epoch(self) -> int | None:
        """None where the task's items have no end."""
        return None if self.task.items is None else -(-self.task.items // self.training.batch)

    @property
    def total_steps(self) -> int:
        return self.training.steps or (self.training.epochs or 0) * (self.steps_per_epoch or 0)

    @property
    def samples_drawn(self) -> int:
        """Of a trial: as many as the bar wants, or the grid, whichever is more."""
        return max(self.bar.samples, self.sampling.count)

    def document(self) -> dict[str, Any]:
        """Every default written out, as plain values; what has no value is left out, as TOML must.

        Keys that were added after format 2 are left out, too, while they hold their default; and so is a swept key of
        the recipe, which has no single value.
        """
        document = without_added(self.model_dump(mode="json", exclude_none=True))
        if self.sweep is not None:
            document["training"].pop(self.sweep.name)
        return document

    def digest(self) -> str:
        """SHA-256 of the canonical form of the resolved protocol, hex."""
        return seal.digest(self.document())
