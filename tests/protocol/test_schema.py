"""Protocols: presets say what they promise, round trips keep the digest, wrong input is named."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.errors import BakeoffError
from bakeoff.protocol.presets import dump_protocol, load_protocol, parse_protocol, preset_names
from bakeoff.protocol.schema import Protocol
from bakeoff.protocol.sections.objectives import Flow
from bakeoff.protocol.sections.rule import Rule


def test_presets() -> None:
    mnist = ["mnist-paper", "mnist-paper-adaln", "mnist-quick"]
    recall = ["recall-ladder", "recall-quick", "recall-share", "recall-smoke"]
    tracking = ["tracking-quick", "tracking-smoke"]
    assert preset_names() == [
        "backbones-quick",
        "backbones-smoke",
        "cifar10",
        "emoji-smoke",
        *mnist,
        "objectives-quick",
        *recall,
        "smoke",
        *tracking,
    ]


def test_a_share_of_attention_is_what_its_name_says() -> None:
    """The control is a Transformer that is no deeper than the task needs."""
    layers = {one.name: one.layers for one in load_protocol("recall-share").backbones}
    assert layers.pop("control") == ("attention", "attention", "mlp")
    assert {name: one.count("attention") / 8 for name, one in layers.items()} == {
        "none": 0,
        "eighth": 1 / 8,
        "quarter": 1 / 4,
        "half": 1 / 2,
        "all": 1,
    }
    assert all(len(one) == 8 for one in layers.values())


def test_the_paper_preset_is_the_study_as_it_describes_itself() -> None:
    p = load_protocol("mnist-paper")
    assert (p.codec.kind, p.codec.patch) == ("pixel", 2)  # type: ignore[union-attr]
    assert (p.model.d_model, p.model.order, p.model.positions) == (128, "raster", "sinusoidal")
    assert p.model.conditioning == "head" and not p.task.conditional
    assert p.mixers.mamba.d_state == 64 and p.mixers.attention.heads == 8
    assert {b.name: b.layers for b in p.backbones} == {
        "mamba": ("mamba",) * 8,
        "transformer": ("attention", "mlp") * 8,
        "hybrid": ("mamba", "attention", "mlp") * 4,
    }
    assert (p.budget.params, p.budget.tolerance) == (3_200_000, 1.10)
    t = p.training
    assert (t.optimiser, t.lr, t.clip, t.batch, t.epochs, t.precision) == ("adamw", 1e-4, 1.0, 256, 50, "fp16")
    assert (t.ema, t.warmup, t.schedule) == (0, 0, "constant")
    assert p.objective == Flow(times="uniform", condition_dropout=0.0)
    assert p.steps_per_epoch == 235 and p.total_steps == 11_750
    assert (p.sampling.steps, p.sampling.solver, p.sampling.count, p.bar.samples) == (10, "euler", 64, 1024)
    assert (p.rule.quality_margin, p.rule.cost_margin) == (0.10, 0.05)


def test_the_adaln_preset_differs_only_in_conditioning_and_seeds() -> None:
    paper, adaln = (load_protocol(name).model_dump() for name in ("mnist-paper", "mnist-paper-adaln"))
    assert adaln["model"].pop("conditioning") == "adaln" and paper["model"].pop("conditioning") == "head"
    assert paper["rule"].pop("evidence") == "point" and adaln["rule"].pop("evidence") == "seeds"
    for document in (paper, adaln):
        for key in ("name", "description", "seeds"):
            document.pop(key)
    assert paper == adaln


@pytest.mark.parametrize("name", preset_names())
def test_round_trip_keeps_the_digest(name: str) -> None:
    protocol = load_protocol(name)
    assert parse_protocol(tomllib.loads(dump_protocol(protocol)), "again").digest() == protocol.digest()


def test_digest_tells_protocols_apart_and_ignores_how_they_are_written(tmp_path: Path) -> None:
    base = load_protocol("smoke")
    assert load_protocol("smoke", ["training.lr=0.003"]).digest() != base.digest()
    assert load_protocol("smoke", ["training.clip=1.0"]).digest() == base.digest()  # the default, written out
    path = tmp_path / "mine.toml"
    path.write_text("# a comment\n" + dump_protocol(base))
    assert load_protocol(str(path)).digest() == base.digest()


def test_protocols_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_protocol("smoke").training.lr = 1.0  # type: ignore[misc]


OVERRIDES = {
    "training.lrr=1": ["training.lrr", "unknown key", "did you mean lr?", "allowed here: optimiser"],
    "fro=1": ["fro", "unknown key", "allowed here: format, name"],
    "codec.pach=2": ["codec.pach", "did you mean patch?", "kind, patch"],
    "mixers.mamba.d_stat=2": ["mixers.mamba.d_stat", "did you mean d_state?"],
    "backbones.0.repeat=2": ["backbones.0.repeat", "did you mean repeats?"],
    "training.lr=-1": ["training.lr = -1", "greater than 0"],
    "training.lr=nan": ["training.lr = nan", "finite"],
    "training.lr=fast": ["training.lr = 'fast'", "number"],
    "training.batch=0": ["training.batch = 0", "greater than or equal to 1"],
    "training.batch=true": ["training.batch = True", "integer"],
    "training.lr=true": ["training.lr = True", "number"],
    "seeds=[true]": ["seeds.0 = True", "integer"],
    "training=3": ["training = 3"],
    "training.warmup=11750": ["training.warmup = 11750", "11750 steps"],
    "training.batch=2.5": ["training.batch = 2.5", "integer"],
    "training.steps=10": ["training", "exactly one of epochs and steps"],
    "training.epochs=none": ["training", "exactly one of epochs and steps"],
    "training.betas=[0.9, 1.0]": ["betas", "[0, 1)"],
    "training.precision=fp8": ["training.precision = 'fp8'", "'fp32', 'bf16' or 'fp16'"],
    "codec.patch=3": ["patch = 3 does not divide 28", "1, 2, 4, 7, 14, 28"],
    "codec.kind=vae": ["codec", "'vae'", "unknown codec; allowed: pixel, pca, latent"],
    "model.order=random": ["model.order = 'random'", "'raster'"],
    "mixers.attention.heads=7": ["heads = 7 does not divide", "128"],
    'backbones.0.mixers=["mambo"]': ["backbones.0.mixers: 'mambo'", "did you mean mamba?", "mamba, mamba2, mamba3"],
    "backbones.0.name=hybrid": ["names must differ"],
    "backbones.0.name=../x": ["backbones.0.name = '../x'", "match pattern"],
    "seeds=[]": ["seeds"],
    "seeds=[1, 1]": ["different whole numbers"],
    "seeds=[-1]": ["different whole numbers"],
    "sampling.guidance=2": ["condition_dropout", "task.conditional"],
    "sampling.steps=0": ["sampling.steps = 0"],
    "bar.thresholds.recognised=1.5": ["bar.thresholds.recognised = 1.5", "at least 0 and at most 1"],
    "bar.thresholds.frechet=-1": ["bar.thresholds.frechet = -1", "at least 0"],
    "bar.thresholds.recognized=0.5": ["recognized is not a figure here", "did you mean recognised?", "frechet"],
    "bar.thresholds.sharpness=1": ["sharpness is reported and decides nothing", "recognised, classes, frechet"],
    "bar.thresholds.loss=1": ["loss is not a figure here"],
    "bar.samples=1": ["bar.samples = 1"],
    "judge.samples=8": ["judge.samples is called bar.samples since format 2"],
    "rule.loss_margin=0.2": ["rule.loss_margin is called rule.quality_margin since format 2"],
    "rule.quality=sharpness": ["sharpness is not a figure here", "allowed: loss, recognised, classes, frechet"],
    "rule.quality=recognised": ["a share of items has no meaningful ratio", "difference"],
    "rule.cost=step_time": ["step_time is not a figure here", "did you mean step_time_ms?", "peak_memory_mib"],
    "rule.quality_margin=2": ["quality_margin = 2", "0 to 1"],
    "rule.against=mamba2": ["no such backbone", "did you mean mamba?", "mamba, transformer, hybrid"],
    "format=3": ["format 3 was made by a newer bakeoff", "up to format 2"],
    "format=0": ["format = 0", "1 to 2"],
    "budget.tolerance=0.9": ["budget.tolerance = 0.9"],
    "rule.quality_margin=-0.1": ["rule.quality_margin = -0.1"],
    "training": ["--set training", "KEY=VALUE"],
    "=3": ["--set =3", "KEY=VALUE"],
    "name.x=1": ["--set name.x=1", "name is a value"],
    "backbones.9.name=x": ["backbones.9", "from 0 to 2"],
    "backbones.x.name=y": ["backbones.x", "from 0 to 2"],
    "backbones.\N{SUPERSCRIPT TWO}.name=y": ["from 0 to 2"],
    "training.steps=" + "9" * 5000: ["training.steps"],
    "seeds=" + "[" * 3000: ["seeds"],
}


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda override: override[:40])
def test_impossible_values_are_named_with_what_is_allowed(override: str) -> None:
    with pytest.raises(BakeoffError) as error:
        load_protocol("mnist-paper", [override])
    for part in OVERRIDES[override]:
        assert part in str(error.value)


FILES = {
    "not toml": (b"a = = 1", "not valid TOML"),
    "binary": (b"\x00\xff\xfe", "not a text file"),
    "empty": (b"", "name: missing"),
    "too large": (b"#" * (1 << 20) + b"\n", "larger than"),
}


@pytest.mark.parametrize("content,expected", FILES.values(), ids=FILES)
def test_unreadable_files_are_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(content)
    with pytest.raises(BakeoffError, match=expected) as error:
        load_protocol(str(path))
    assert str(path) in str(error.value)


def test_unknown_names_get_a_hint(tmp_path: Path) -> None:
    with pytest.raises(BakeoffError, match="did you mean mnist-quick"):
        load_protocol("mnist-quik")
    with pytest.raises(BakeoffError, match="is a folder"):
        load_protocol(str(tmp_path))
    with pytest.raises(BakeoffError, match="cannot be a path"):
        load_protocol("x" * 5000)


@given(st.text(max_size=60))
def test_any_override_text_gives_a_protocol_or_a_clear_error(text: str) -> None:
    try:
        load_protocol("smoke", [text])
    except BakeoffError as error:
        assert str(error)


def test_a_protocol_built_in_python_is_the_one_of_the_file() -> None:
    """Its evidence follows the seeds, whether the rule is left out, a section, or an object."""
    for seeds, evidence in ((1, "point"), (3, "seeds")):
        file = load_protocol("smoke", [f"seeds={list(range(seeds))}"])
        given = {name: getattr(file, name) for name in type(file).model_fields if name not in ("seeds", "rule")}
        for rule in ({}, {"rule": Rule()}, {"rule": {"cost": "step_time_ms"}}):
            built = Protocol(**given, **rule, seeds=tuple(range(seeds)))
            assert built.rule.evidence == evidence and built.digest() == file.digest()
    chosen = Protocol(**given, rule=Rule(evidence="point"), seeds=(0, 1, 2))
    assert chosen.rule.evidence == "point"
