"""Bad input, command by command: a clear message, exit code 2, no traceback, nothing written or lost."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bakeoff import cli
from bakeoff.protocol.presets import dump_protocol, load_protocol
from bakeoff.registry import MIXERS

MEASUREMENT = {"backbone": "mamba", "seed": 0}


def furnish(here: Path) -> None:
    """A folder with one of everything that can be given by mistake."""
    (here / "empty").write_bytes(b"")
    (here / "binary").write_bytes(bytes(range(256)) * 8)
    (here / "text.txt").write_text("hello\n")
    (here / "large.toml").write_bytes(b"#" * (1 << 20) + b"\nname = 'x'\n")
    (here / "folder").mkdir()
    (here / "full").mkdir()
    (here / "full/notes.txt").write_text("mine\n")
    (here / "broken.toml").write_text("name = = 1\n")
    (here / "wrong.toml").write_text('name = "x"\nseeds = "all"\n')
    (here / "list.toml").write_text("seeds = [[[]]]\n")
    (here / "nobody.toml").write_text("[setup]\ntokens = 196\n")
    (here / "misspelt.toml").write_text('[[backbone]]\nname = "a"\nparms = 3.1e6\n')
    (here / "huge.toml").write_text('[[backbone]]\nname = "a"\nparams = 1e300\n')
    (here / "hexadecimal.toml").write_text("a = 0x" + "f" * 60_000)
    (here / "deep.toml").write_text("a" + ".a" * 30_000 + " = 1")
    (here / "nested.toml").write_text("a = " + "[" * 60_000)
    (here / "escape.toml").write_text('[[backbone]]\nname = "\\u001b[2J"\n')
    (here / "plugin.py").write_text("raise SystemError('no')\n")
    (here / "no_mixer.py").write_text("Mixer = 3\n")
    (here / "weights.pt").write_bytes(b"")
    torch.save({"a": torch.zeros(2)}, here / "nameless.pt")
    torch.save([1], here / "list.pt")
    (here / "unreadable.toml").write_text("x")
    (here / "unreadable.toml").chmod(0)
    run = here / "run"
    (run / "trials/mamba-s0").mkdir(parents=True)
    (run / "protocol.toml").write_text(dump_protocol(load_protocol("smoke")))
    (run / "trials/mamba-s0/measurement.json").write_text(json.dumps(MEASUREMENT))
    for name, content in (("binary_run", b"\xff\xfe\x00"), ("empty_run", b""), ("broken_run", b"a = [")):
        (here / name).mkdir()
        (here / name / "protocol.toml").write_bytes(content)
    speed = here / "speed_run"
    speed.mkdir()
    (speed / "protocol.toml").write_text(dump_protocol(load_protocol("smoke")))
    (speed / "probes").mkdir()
    (speed / "probes/step_time.json").write_text("[1]")
    mnist = here / "mnist"
    mnist.mkdir()
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (mnist / name).write_bytes(b"\x00\x00\x08\x03" + bytes(12))


Case = tuple[list[str], str]
CASES: dict[str, Case] = {
    # no command, wrong command
    "no such command": (["bake"], "No such command"),
    "no such option": (["--colour"], "No such option"),
    # plan
    "plan: nothing given": (["plan"], "Missing argument"),
    "plan: two protocols": (["plan", "smoke", "smoke"], "unexpected extra argument"),
    "plan: no such preset": (["plan", "smok"], "did you mean smoke"),
    "plan: empty name": (["plan", ""], "no protocol given"),
    "plan: a folder": (["plan", "folder"], "is a folder"),
    "plan: empty file": (["plan", "empty"], "name: missing"),
    "plan: binary file": (["plan", "binary"], "not a text file"),
    "plan: text file": (["plan", "text.txt"], "not valid TOML"),
    "plan: too large": (["plan", "large.toml"], "larger than"),
    "plan: broken TOML": (["plan", "broken.toml"], "not valid TOML"),
    "plan: wrong type": (["plan", "wrong.toml"], "seeds = 'all'"),
    "plan: nested lists": (["plan", "list.toml"], "seeds.0"),
    "plan: unreadable file": (["plan", "unreadable.toml"], "cannot be read"),
    "plan: a name too long": (["plan", "x" * 5000], "cannot be a path"),
    "plan: zero byte in the name": (["plan", "a\0b"], r"a\x00b"),
    "plan: --set without value": (["plan", "smoke", "--set"], "requires an argument"),
    "plan: --set without =": (["plan", "smoke", "--set", "training.lr"], "expected KEY=VALUE"),
    "plan: --set empty": (["plan", "smoke", "--set", ""], "expected KEY=VALUE"),
    "plan: --set no key": (["plan", "smoke", "--set", "=1"], "expected KEY=VALUE"),
    "plan: --set unknown key": (["plan", "smoke", "--set", "training.lrr=1"], "did you mean lr?"),
    "plan: --set into a value": (["plan", "smoke", "--set", "name.x=1"], "is a value, not a section"),
    "plan: --set beyond a list": (["plan", "smoke", "--set", "backbones.7.name=x"], "from 0 to 2"),
    "plan: --set wrong type": (["plan", "smoke", "--set", "training.batch=many"], "training.batch = 'many'"),
    "plan: --set a bool for a number": (["plan", "smoke", "--set", "training.batch=true"], "training.batch = True"),
    "plan: --set zero": (["plan", "smoke", "--set", "training.batch=0"], "greater than or equal to 1"),
    "plan: --set negative": (["plan", "smoke", "--set", "bar.samples=-5"], "greater than or equal to 2"),
    "plan: --set not a number": (["plan", "smoke", "--set", "training.lr=nan"], "finite"),
    "plan: --set huge": (["plan", "smoke", "--set", "model.d_model=100000"], "less than or equal to 4096"),
    "plan: no steps": (["plan", "smoke", "--set", "training.steps=none"], "exactly one of epochs and steps"),
    "plan: heads": (["plan", "smoke", "--set", "mixers.attention.heads=5"], "does not divide"),
    "plan: patch": (["plan", "mnist-paper", "--set", "codec.patch=5"], "does not divide 28"),
    "plan: codec": (["plan", "smoke", "--set", "codec.kind=jpeg"], "unknown codec; allowed: pixel, pca, latent"),
    "plan: guidance without labels": (["plan", "mnist-paper", "--set", "sampling.guidance=3"], "need labels"),
    "plan: unmatchable budget": (["plan", "smoke", "--set", "budget.params=1000"], "Nearest reachable"),
    "plan: unknown mixer": (["plan", "smoke", "--set", 'backbones.0.mixers=["mambo"]'], "did you mean mamba?"),
    "plan: options of nobody": (["plan", "smoke", "--set", "mixers.mambo.x=1"], "not used"),
    "plan: plug-in without leave": (["plan", "smoke", "--set", 'backbones.0.mixers=["a.b:C"]'], "--allow-plugins"),
    "plan: plug-in module absent": (
        ["plan", "smoke", "--allow-plugins", "--set", 'backbones.0.mixers=["absent:C"]'],
        "cannot be loaded: ModuleNotFoundError",
    ),
    "plan: plug-in raises": (
        ["plan", "smoke", "--allow-plugins", "--set", 'plugins=["plugin"]'],
        "cannot be loaded: SystemError",
    ),
    "plan: plug-in is no class": (
        ["plan", "smoke", "--allow-plugins", "--set", 'backbones.0.mixers=["no_mixer:Mixer"]'],
        ", no class",
    ),
    # run
    "run: nothing given": (["run"], "Missing argument"),
    "run: no such preset": (["run", "mnits"], "no such preset or file"),
    "run: bad progress": (["run", "smoke", "--progress", "dots"], "'auto', 'bar', 'text', 'none'"),
    "run: bad device": (["run", "smoke", "--device", "toaster"], "no such device"),
    "run: device not supported": (["run", "smoke", "--device", "meta"], "not supported"),
    "run: cuda out of range": (["run", "smoke", "--device", "cuda:99"], "CUDA devices"),
    "run: threads": (["run", "smoke", "--threads", "-1"], "Invalid value for '--threads'"),
    "run: threads no number": (["run", "smoke", "--threads", "two"], "Invalid value for '--threads'"),
    "run: checkpoint interval": (
        ["run", "smoke", "--checkpoint-every", "-1"],
        "Invalid value for '--checkpoint-every'",
    ),
    "run: out is a file": (["run", "smoke", "--out", "text.txt"], "is a file"),
    "run: out holds other files": (["run", "smoke", "--out", "full"], "not empty"),
    "run: out below a file": (["run", "smoke", "--out", "text.txt/run"], "cannot be"),
    "run: out read-only": (["run", "smoke", "--out", "/proc/bakeoff"], "cannot be written"),
    "run: out holds another protocol": (["run", "mnist-quick", "--out", "run"], "another protocol"),
    "run: out holds another one, resumed": (["run", "mnist-quick", "--out", "run", "--resume"], "another protocol"),
    "run: out holds this one": (["run", "smoke", "--out", "run"], "--resume"),
    "run: out is a broken run": (["run", "smoke", "--out", "broken_run"], "not valid TOML"),
    "run: out is a binary run": (["run", "smoke", "--out", "binary_run"], "not a text file"),
    "run: no data folder": (["run", "smoke", "--data-dir", "absent"], "no such folder"),
    "run: data folder is a file": (["run", "smoke", "--data-dir", "text.txt"], "no such folder"),
    "run: data folder without data": (["run", "smoke", "--data-dir", "folder"], "no train-images-idx3-ubyte"),
    "run: data of another size": (["run", "smoke", "--data-dir", "mnist"], "expected (60000, 28, 28)"),
    # verdict
    "verdict: nothing given": (["verdict"], "Missing argument"),
    "verdict: no such folder": (["verdict", "absent"], "no such run directory"),
    "verdict: a file": (["verdict", "text.txt"], "no such run directory"),
    "verdict: not a run": (["verdict", "full"], "holds no protocol.toml"),
    "verdict: empty protocol": (["verdict", "empty_run"], "name: missing"),
    "verdict: binary protocol": (["verdict", "binary_run"], "not a text file"),
    "verdict: broken protocol": (["verdict", "broken_run"], "not valid TOML"),
    "verdict: measurement damaged": (["verdict", "run"], "not a measurement"),
    "verdict: probe damaged": (["verdict", "speed_run"], "holds no JSON object"),
    # sample
    "sample: nothing given": (["sample"], "Missing argument"),
    "sample: no such file": (["sample", "flow_model_final.pt"], "Looked for flow_model_final.pt"),
    "sample: no such folder": (["sample", "absent/model.safetensors"], "no folder absent"),
    "sample: a folder": (["sample", "run"], "is a folder"),
    "sample: empty file": (["sample", "weights.pt"], "read safely"),
    "sample: binary file": (["sample", "binary"], "read safely"),
    "sample: text file": (["sample", "text.txt"], "read safely"),
    "sample: a list": (["sample", "list.pt"], "expected a state_dict"),
    "sample: weights of nothing": (["sample", "nameless.pt"], "--protocol and --backbone"),
    "sample: no such protocol": (["sample", "nameless.pt", "--protocol", "smok"], "did you mean smoke"),
    "sample: no such backbone": (["sample", "nameless.pt", "--protocol", "smoke", "--backbone", "x"], "it has mamba"),
    "sample: weights that do not fit": (
        ["sample", "nameless.pt", "--protocol", "smoke", "--backbone", "mamba"],
        "unexpected (1): a",
    ),
    "sample: label": (["sample", "nameless.pt", "--label", "-1"], "Invalid value for '--label'"),
    "sample: label no number": (["sample", "nameless.pt", "--label", "three"], "Invalid value for '--label'"),
    "sample: count": (["sample", "nameless.pt", "--count", "0"], "Invalid value for '--count'"),
    "sample: steps": (["sample", "nameless.pt", "--steps", "0"], "Invalid value for '--steps'"),
    "sample: solver": (["sample", "nameless.pt", "--solver", "rk4"], "'euler', 'midpoint', 'heun'"),
    "sample: guidance": (["sample", "nameless.pt", "--guidance", "-1"], "Invalid value for '--guidance'"),
    "sample: seed": (["sample", "nameless.pt", "--seed", "-1"], "Invalid value for '--seed'"),
    # check-plugin
    "check-plugin: nothing given": (["check-plugin"], "Missing argument"),
    "check-plugin: unknown name": (["check-plugin", "mambo"], "did you mean mamba"),
    "check-plugin: no module": (["check-plugin", "absent:C"], "cannot be loaded"),
    "check-plugin: no class": (["check-plugin", "no_mixer:Mixers"], "has no Mixers"),
    "check-plugin: not a class": (["check-plugin", "no_mixer:Mixer"], ", no class"),
    "check-plugin: module raises": (["check-plugin", "x", "--plugin", "plugin"], "SystemError"),
    "check-plugin: bad option": (["check-plugin", "mamba", "--option", "d_state"], "expected KEY=VALUE"),
    # audit
    "audit: nothing given": (["audit"], "Missing argument"),
    "audit: two tables": (["audit", "a.toml", "b.toml"], "unexpected extra argument"),
    "audit: no such file": (["audit", "publishd.toml"], "no such file; give the TOML file of a published table"),
    "audit: empty name": (["audit", ""], "give the TOML file of a published table"),
    "audit: a name too long": (["audit", "x" * 5000], "cannot be a path"),
    "audit: zero byte in the name": (["audit", "a\0b"], r"a\x00b"),
    "audit: a folder": (["audit", "folder"], "is a folder"),
    "audit: empty file": (["audit", "empty"], "backbone: missing"),
    "audit: binary file": (["audit", "binary"], "not a text file"),
    "audit: text file": (["audit", "text.txt"], "not valid TOML"),
    "audit: too large": (["audit", "large.toml"], "larger than 65536 bytes"),
    "audit: a protocol": (["audit", "run/protocol.toml"], "backbones: unknown key (did you mean backbone?)"),
    "audit: no backbones": (["audit", "nobody.toml"], "backbone: missing"),
    "audit: misspelt key": (["audit", "misspelt.toml"], "backbone.0.parms: unknown key (did you mean params?)"),
    "audit: huge number": (["audit", "huge.toml"], "backbone.0.params = 1e+300"),
    "audit: endless number": (["audit", "hexadecimal.toml"], "not a valid published table"),
    "audit: endless key": (["audit", "deep.toml"], "more than 32 parts"),
    "audit: endless nesting": (["audit", "nested.toml"], "not valid TOML"),
    "audit: control characters": (["audit", "escape.toml"], r"backbone.0.name = '\x1b[2J'"),
    # ls
    "ls: a file": (["ls", "text.txt"], "is not a folder"),
    "ls: absent": (["ls", "absent"], "no such folder"),
}


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("here")
    furnish(here)
    return here


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[..., tuple[int, str]]:
    """Runs the command line in this process; returns its exit code and what it said."""
    monkeypatch.setattr(MIXERS, "_known", dict(MIXERS._known))
    monkeypatch.setattr(sys, "path", sys.path.copy())

    def run(arguments: list[str], here: Path) -> tuple[int, str]:
        monkeypatch.chdir(here)
        monkeypatch.setattr(sys, "argv", ["bakeoff", *arguments])
        with pytest.raises(SystemExit) as done:
            cli.main()
        said = capsys.readouterr()
        return int(done.value.code or 0), said.out + said.err

    return run


def snapshot(here: Path) -> dict[str, bytes | None]:
    ignored = {"__pycache__"}
    return {
        str(path.relative_to(here)): path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else None
        for path in sorted(here.rglob("*"))
        if not ignored & set(path.parts)
    }


@pytest.mark.parametrize("case", CASES)
def test_is_refused_with_a_clear_message(case: str, furnished: Path, invoke) -> None:
    arguments, expected = CASES[case]
    if case == "plan: unreadable file" and os.access(furnished / "unreadable.toml", os.R_OK):
        expected = "not valid TOML"  # whoever runs this may read everything
    before = snapshot(furnished)
    code, said = invoke(arguments, furnished)
    assert code == 2, said
    assert expected in said and "Traceback" not in said
    assert snapshot(furnished) == before


def test_there_are_at_least_eighty_cases() -> None:
    assert len(CASES) >= 80


def test_a_picture_that_cannot_be_written_is_said_and_leaves_nothing(furnished: Path, invoke) -> None:
    from bakeoff.trial import checkpoint
    from bakeoff.trial.candidate import candidates

    protocol = load_protocol("smoke")
    candidate = candidates(protocol)[1]
    backbone, fit = candidate.backbone, candidate.blueprint.fit()
    model = candidate.blueprint.build(fit.widths)
    checkpoint.save_model(furnished / "good.safetensors", model.state_dict(), protocol, backbone.name, fit.widths)
    before = snapshot(furnished)
    for out, expected in (("folder", "cannot be written"), ("absent/x.png", "cannot be written"), ("/proc/x.png", "")):
        arguments = ["sample", "good.safetensors", "--count", "2", "--steps", "1", "--out", out]
        code, said = invoke(arguments, furnished)
        assert code == 2 and expected in said and "Traceback" not in said
    assert snapshot(furnished) == before
