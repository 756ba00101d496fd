"""Format numbers: what may be newer than this package, and how what is older becomes what it reads.

One number counts for all files of a run: protocol, seal, measurement, checkpoint header, verdict. What was sealed is
never rewritten: digests and deviations read the document as it stands, and only then is it upgraded to be parsed.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from bakeoff.errors import BakeoffError

FORMAT = 2

# Keys of the protocol that were added after format 2, with the value that they had before they were keys. While a key
# holds this value it is left out of the document, so that older digests stay what they are; a new section is listed
# whole, and left out or written out whole. Add here, never remove.
ADDED: dict[str, Any] = {
    "training.decay": "all",
    "sampling.kind": "solver",
    "mixers.mamba.selective": True,
    "mixers.mamba.discretise": "exponential",
    "model.norm": "layer",
    "mixers.mamba2": {"d_state": 64, "d_conv": 4, "heads": 4, "groups": 1},
    "mixers.mamba3": {
        "d_state": 64,
        "heads": 4,
        "groups": 1,
        "rank": 1,
        "decay": "softplus",
        "rope_fraction": 0.5,
        "bias": True,
        "trapezoid": True,
        "rotation": True,
        "out_norm": False,
    },
    "mixers.attention.kv_heads": 0,
    "mixers.attention.qk_norm": False,
    "mixers.attention.window": 0,
    "mixers.attention.rope": False,
    "mixers.mlp.gate": "gelu",
    "backbones.combine": "sum",
    "backbones.attention_every": 0,
    "model.bottleneck": 0,
    "model.class_tokens": 0,
    "model.class_tokens_at": 0,
    "mixers.gru": {},
    "sweep.more_seeds": [],
    "mixers.conv": {"d_conv": 4},
    "objective.prediction": "velocity",
    "objective.loss_space": "velocity",
    "objective.times_mean": 0.0,
    "objective.times_std": 1.0,
    "backbones.objective.prediction": "velocity",
    "backbones.objective.loss_space": "velocity",
    "backbones.objective.times_mean": 0.0,
    "backbones.objective.times_std": 1.0,
    "objective.coupling": "independent",
    "backbones.objective.coupling": "independent",
    **{
        f"{section}.{key}": value
        for section in ("sampling", "backbones.sampling")
        for key, value in {"eta": 0.0, "grid": "trailing", "guidance_from": 0.0, "guidance_to": 1.0}.items()
    },
}
# Those that came after mixers had versions ([mixers.NAME] kind = ...), of which they are left out, too.
OF_VERSIONS = ("mixers.mamba.discretise", "mixers.attention.rope")


class Moved(NamedTuple):
    """A key of format 1 and where format 2 has it; `default` is what format 1 meant where the key was left out."""

    old: str
    new: str
    default: Any = None


MOVED = (
    Moved("judge.measure", "bar.measure"),
    Moved("judge.clean", "bar.clean"),
    Moved("judge.votes", "bar.votes"),
    Moved("judge.samples", "bar.samples"),
    Moved("judge.recognised", "bar.thresholds.recognised", 0.80),
    Moved("judge.classes", "bar.thresholds.classes", 8),
    Moved("judge.frechet", "bar.thresholds.frechet"),
    Moved("rule.loss_margin", "rule.quality_margin"),
    Moved("rule.speed_margin", "rule.cost_margin"),
    Moved("task.name", "task.kind"),
    Moved("training.times", "objective.times"),
    Moved("training.label_dropout", "objective.condition_dropout"),
)


def check_format(number: object, what: str) -> int:
    """The number of a format, which is 1 where none is given.

    Raises:
        BakeoffError: no such format, or one of a later version.
    """
    if number is None:
        return 1
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise BakeoffError(f"{what}: format = {number!r:.80}; allowed: 1 to {FORMAT}.")
    if number > FORMAT:
        raise BakeoffError(
            f"{what}: format {number} was made by a newer bakeoff; this one reads up to format {FORMAT}. Upgrade it."
        )
    return number


def upgrade(document: dict[str, Any], moved: tuple[Moved, ...] = MOVED) -> dict[str, Any]:
    """A protocol's document in the present format; the one that is given stays as it is.

    A document without a format that holds no key of format 1 is taken for one of the present format.

    Raises:
        BakeoffError: of a newer format, with a key of an older format than its own, or with a key twice.
    """
    given = document.get("format")
    number = check_format(given, "protocol")
    old = [one for one in moved if _has(document, one.old)]
    if old and given is not None and number == FORMAT:
        raise BakeoffError(f"{old[0].old} is called {old[0].new} since format {FORMAT}.")
    if number == FORMAT or (given is None and not old):
        return {"format": FORMAT, **document}
    made = {"format": FORMAT, **{key: value for key, value in deepcopy(document).items() if key != "format"}}
    for one in moved:
        if _has(made, one.old):
            if _has(made, one.new):
                raise BakeoffError(f"{one.old} and {one.new} are one key; give {one.new} only.")
            _put(made, one.new, _take(made, one.old))
        elif one.default is not None and one.old.partition(".")[0] in document and not _has(made, one.new):
            _put(made, one.new, one.default)
    return made


def without_added(document: dict[str, Any], added: Mapping[str, Any] = ADDED) -> dict[str, Any]:
    """The document without the keys that were added later and hold their default; lists are stepped through."""
    for key, default in added.items():
        _leave_out(document, key.split("."), default)
    for key in OF_VERSIONS:
        _, kind, option = key.split(".")
        for one in document.get("mixers", {}).values():
            if isinstance(one, dict) and one.get("kind") == kind:
                _leave_out(one, [option], ADDED[key])
    return document


def upgrade_measurement(document: dict[str, Any]) -> dict[str, Any]:
    """A trial's measurement in the present format; the one that is given stays as it is.

    Format 1 had the figures of digits as fixed keys of `quality`, with `class_shares` among them.

    Raises:
        BakeoffError: of a newer format.
    """
    if check_format(document.get("format"), "measurement") == FORMAT:
        return document
    quality = document.get("quality")
    if isinstance(quality, dict):
        figures = {key: value for key, value in quality.items() if key not in ("samples", "class_shares")}
        detail = {"class_shares": quality["class_shares"]} if "class_shares" in quality else {}
        samples = {"samples": quality["samples"]} if "samples" in quality else {}
        quality = {**samples, "figures": figures, "detail": detail}
    return {**document, "format": FORMAT, "quality": quality}


def upgrade_inputs(inputs: object) -> object:
    """The digests of a seal's inputs by name; format 1 had those of the data in a table of their own."""
    if not isinstance(inputs, dict) or not isinstance(inputs.get("data"), dict):
        return inputs
    return {**inputs["data"], **{name: sha256 for name, sha256 in inputs.items() if name != "data"}}


def _has(document: object, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(document, dict) or part not in document:
            return False
        document = document[part]
    return True


def _take(document: dict[str, Any], key: str) -> Any:
    """Remove a key and return its value; a section that is empty then goes, too."""
    section, _, rest = key.partition(".")
    if not rest:
        return document.pop(section)
    value = _take(document[section], rest)
    if not document[section]:
        del document[section]
    return value


def _put(document: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        document = document.setdefault(section, {})
        if not isinstance(document, dict):
            raise BakeoffError(f"{section} is a value, not a section; it holds {key}.")
    document[last] = value


def _leave_out(node: Any, parts: list[str], default: Any) -> None:
    if isinstance(node, list):
        for child in node:
            _leave_out(child, parts, default)
    elif isinstance(node, dict) and parts[0] in node:
        if len(parts) > 1:
            _leave_out(node[parts[0]], parts[1:], default)
        elif node[parts[0]] == default:
            del node[parts[0]]
