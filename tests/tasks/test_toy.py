"""A task of one's own goes the whole way: run, verdict, report, blind votes; the plan tells the law its figures."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakeoff.artefacts.base import build_kind, read_path
from bakeoff.artefacts.contract import check_kind
from bakeoff.errors import BakeoffError
from bakeoff.judging import sessions
from bakeoff.protocol.presets import load_protocol
from bakeoff.registry import plugins_allowed
from bakeoff.rundir.sealed import as_sealed
from bakeoff.tasks import build_task
from bakeoff.trial.path import PATH_ITEMS
from bakeoff.trial.plan import make_plan
from command import bakeoff

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
PROTOCOL = """
name = "toy"
seeds = [0]
task = {kind = "toy:Sums"}
model = {d_model = 16, order = "bidirectional"}
mixers = {mamba = {d_state = 4}, attention = {heads = 2}}
backbones = [{name = "mamba", mixers = ["mamba"]}, {name = "transformer", mixers = ["attention", "mlp"]}]
# noise instead of an answer: close 0.15, error 1.13; the answer itself: 1 and 0
budget = {params = 5_000, tolerance = 1.3}
objective = {kind = "flow", condition_dropout = 0.1}
training = {lr = 1e-2, batch = 64, steps = 400, ema = 0.9}
sampling = {steps = 4, count = 16, guidance = 1.5}
bar = {samples = 32, thresholds = {close = 0.3, error = 0.8}}
rule = {quality = "close", scale = "difference", quality_margin = 0.5}
"""


@pytest.fixture(scope="module")
def at_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the task's file and its protocol."""
    home = tmp_path_factory.mktemp("toy")
    shutil.copy(HERE / "toy.py", home)
    (home / "toy.toml").write_text(PROTOCOL)
    return home


@pytest.fixture(scope="module")
def run(at_home: Path) -> Path:
    done = bakeoff("run", "toy.toml", "--allow-plugins", "--threads", 1, "--out", "run", cwd=at_home)
    assert done.returncode == 0, done.stderr
    return at_home / "run"


@pytest.fixture
def allowed(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(at_home)
    with plugins_allowed():
        yield


def test_it_has_a_verdict_that_needs_none_of_its_code(run: Path) -> None:
    sealed, _ = as_sealed(run)
    assert list(sealed.figures) == ["loss", "close", "error"] and sealed.figures["close"].share
    verdict = json.loads(bakeoff("verdict", run, "--json").stdout)
    assert verdict["outcome"] in ("winner", "inconclusive") and verdict["rule"]["quality"] == "close"
    for one in verdict["backbones"].values():
        assert one["seeds_passed"] == 1 and set(one["figures"]) >= {"loss", "close", "error"}
    assert bakeoff("verify", run).returncode == 0


def test_it_learns_and_its_path_ends_where_its_items_begin_to_be_right(run: Path, allowed: None) -> None:
    opened, _ = as_sealed(run)
    for trial in opened.trials():
        measured = trial.measurement()
        assert measured.loss is not None and measured.quality is not None
        losses = [json.loads(line)["losses"] for line in trial.metrics.read_text().splitlines()]
        assert (
            measured.loss < losses[0][0] and measured.quality.figures["error"] < 0.5
        )  # noise beside noise: 2 / sqrt(pi)
        states = read_path(trial.states, opened.kind, PATH_ITEMS)
        assert len(states) == 5 and len(trial.items()) == 32
        error = [build_task(opened.protocol).assess(state, None).figures["error"] for state in (states[0], states[-1])]  # pyright: ignore[reportArgumentType]
        assert error[1] < error[0]


def test_it_has_a_report(run: Path, at_home: Path) -> None:
    done = bakeoff("report", "run", "--allow-plugins", cwd=at_home)
    assert done.returncode == 0, done.stderr
    page = (run / "report" / "report.html").read_text()
    assert "share within 0.5" in page and "data:image/png" in page


def test_people_judge_it_blind(run: Path, allowed: None, tmp_path: Path) -> None:
    opened, _ = as_sealed(Path(shutil.copytree(run, tmp_path / "run")))
    session = sessions.begin(opened, "Ann")
    for item, shown in zip(session.shown, session.items, strict=True):
        assert shown.picture().width > 100
        sessions.cast(opened, session.id, item, "clean")
    revealed = sessions.reveal(opened, session.id)
    assert {name: one.clean for name, one in revealed.backbones.items()} == {"mamba": 2, "transformer": 2}
    assert revealed.agreement.judge.votes == 4


def test_its_kind_keeps_the_contract(run: Path, allowed: None) -> None:
    opened, _ = as_sealed(run)
    checks = check_kind(build_kind("toy:Numbers"), opened.trial("mamba", 0).items())
    assert [check.name for check in checks if not check.passed] == []


def test_what_its_figures_do_not_allow_is_refused_at_the_plan(allowed: None, at_home: Path) -> None:
    for change, said in (
        ("bar.thresholds.closer=0.5", "did you mean close"),
        ("bar.thresholds.close=1.5", "at most 1"),
        ("rule.quality=far", "rule.quality"),
        ("rule.scale=ratio", "share of items"),
    ):
        with pytest.raises(BakeoffError, match=said):
            make_plan(load_protocol(str(at_home / "toy.toml"), [change]))


def test_a_stranger_s_task_is_not_loaded(at_home: Path) -> None:
    done = bakeoff("plan", "toy.toml", cwd=at_home)
    assert done.returncode == 2 and "--allow-plugins" in done.stderr


def test_the_file_is_short() -> None:
    assert len((HERE / "toy.py").read_text().splitlines()) < 80
