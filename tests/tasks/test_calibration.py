"""What decides a bar is measured before the seal: kept by digest, read within bounds, asked for by the plan."""

import json
from pathlib import Path

import pytest

from bakeoff.errors import BakeoffError
from bakeoff.metrics.images import calibration as judging
from bakeoff.protocol.presets import load_protocol
from bakeoff.tasks import build_task, inputs
from bakeoff.tasks.calibration import Calibration, load_calibration, read_calibration, stored
from bakeoff.tasks.digits import Digits
from bakeoff.trial.plan import lint_plan, make_plan, refuse_errors

FOUND = Calibration({64: {"real": {"recognised": (0.9, 0.95, 1.0)}}}, draws=20, seed=7, baselines={"noise": {"x": 1.0}})


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_HOME", str(tmp_path))


def test_it_reads_back_with_the_same_digest() -> None:
    again = read_calibration(json.loads(json.dumps(FOUND.document())))
    assert again == FOUND and again.digest() == FOUND.digest()
    assert again.of("real") == {64: {"recognised": (0.9, 0.95, 1.0)}} and again.of("blank") == {}


def test_it_lies_where_task_codec_and_samples_say_and_thresholds_do_not_move_it() -> None:
    protocol = load_protocol("smoke")
    same = [stored(load_protocol("smoke", [change])) for change in ("bar.thresholds.classes=3", "training.lr=0.1")]
    others = [stored(load_protocol("smoke", [change])) for change in ("task.train_images=9", "bar.samples=65")]
    assert {*same} == {stored(protocol)} and stored(protocol) not in others and others[0] != others[1]
    assert load_calibration(protocol) is None


@pytest.mark.parametrize("content", ["", "[]", '{"samples": 3}', '{"samples": {}, "draws": "x"}', "[" * 100_000])
def test_a_damaged_file_is_named(content: str) -> None:
    path = stored(load_protocol("smoke"))
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(BakeoffError, match=r"not a calibration.*run `bakeoff calibrate` again"):
        load_calibration(load_protocol("smoke"))


def test_a_bar_that_needs_one_is_refused_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = load_protocol("smoke")
    assert inputs(protocol)["calibration"] == build_task(protocol).calibration().digest()  # type: ignore[union-attr]
    monkeypatch.setattr(Digits, "calibration", lambda self: load_calibration(self.protocol))
    with pytest.raises(BakeoffError, match="not calibrated on this machine: run `bakeoff calibrate smoke` first"):
        refuse_errors(lint_plan(make_plan(protocol)))
    path = stored(protocol)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(FOUND.document()))
    assert inputs(protocol)["calibration"] == FOUND.digest()
    free = load_protocol("smoke", ["bar.thresholds={}"])
    path.unlink()
    refuse_errors(lint_plan(make_plan(free)))


@pytest.mark.slow
def test_the_shipped_table_is_what_measuring_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first draws of it, at the smallest size: within its extremes, and equal where the extremes are."""
    monkeypatch.setattr(judging, "COUNTS", (64,))
    task = build_task(load_protocol("smoke"))
    assert isinstance(task, Digits)
    kinds = {kind: judging.DIGITS[kind] for kind in ("real", "blank", "flow at t = 0.8")}
    measured = read_calibration(judging.measure(task.judged, task.pools(), kinds, draws=3)).samples[64]
    shipped = read_calibration(judging.shipped_calibration("digits")).samples[64]
    for kind, figures in measured.items():
        for name, (low, middle, high) in figures.items():
            least, _, most = shipped[kind][name]
            assert least <= low <= middle <= high <= most, (kind, name)
