"""The probe of calls: how many steps fit, what it leaves in a finished run, and what it refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bakeoff.errors import BakeoffError
from bakeoff.execute.local import Options
from bakeoff.execute.probing import probe_calls
from bakeoff.probes.steps import with_calls
from bakeoff.protocol.presets import load_protocol
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.verify import verify
from bakeoff.trial.plan import make_plan
from command import bakeoff

OPTIONS = Options(threads=1)


def silent(name: str, event: object) -> None:
    pass


@pytest.mark.parametrize("solver", ["euler", "midpoint", "heun", "ddim", "dpmpp2m"])
@pytest.mark.parametrize("prediction", ["velocity", "data"])
def test_the_most_steps_that_fit_are_taken(solver: str, prediction: str) -> None:
    changes = [f'sampling.solver="{solver}"', f'objective.prediction="{prediction}"']
    (candidate, *_) = (one.candidate for one in make_plan(load_protocol("smoke", changes)).backbones)
    prompts = candidate.task.prompts(1)

    def taken(steps: int) -> int:
        sampling = candidate.protocol.sampling.model_copy(update={"steps": steps, "guidance": 1.0})
        return candidate.objective.nfe(sampling, prompts)

    for calls in (1, 2, 3, 4, 5, 10, 99, 100, 1000):
        fitted = with_calls(candidate, calls)
        most = max((steps for steps in range(1, calls + 1) if taken(steps) <= calls), default=None)
        assert (fitted and fitted.steps) == most
        assert fitted is None or fitted.guidance == candidate.protocol.sampling.guidance


def test_a_finished_run_gets_curves_and_stays_whole(run: RunDir) -> None:
    record, timed = probe_calls(run, (2, 1), OPTIONS, silent)
    assert record.ladder == (1, 2)
    assert [(one.backbone, one.seed) for one in record.curves] == [(one.backbone, one.seed) for one in run.trials()]
    for curve in record.curves:
        assert [rung.calls for rung in curve.rungs] == [1, 2]
        for rung in curve.rungs:
            assert rung.found.samples == rung.confirmed.samples == run.protocol.bar.samples
            assert rung.found.figures != rung.confirmed.figures  # another noise
            assert rung.nfe == rung.steps * (2 if run.protocol.sampling.guidance != 1 else 1)
    assert [point.at for point in timed.points] == [1, 2]
    assert all(point.candidates.keys() == {*record.backbones} for point in timed.points)
    assert verify(run.path).outcome == "whole" and not verify(run.path).notes
    again, _ = probe_calls(run, (1, 2), OPTIONS, silent)
    assert again == record
    with pytest.raises(BakeoffError, match="of 1, 2 calls, not of 1, 4; give those, or --again"):
        probe_calls(run, (1, 4), OPTIONS, silent)
    anew, _ = probe_calls(run, (1,), OPTIONS, silent, again=True)
    assert anew.ladder == (1,) and verify(run.path).outcome == "whole"
    assert [one.rungs for one in anew.curves] == [one.rungs[:1] for one in record.curves]  # the noise is the seed's
    done = bakeoff("report", run.path)
    assert done.returncode == 0, done.stderr
    page = (run.path / "report/report.html").read_text()
    assert "Quality against calls of the network" in page and "quality-against-calls" in str(
        list((run.path / "report/figures").iterdir())
    )


def test_what_was_begun_goes_on(run: RunDir) -> None:
    record, _ = probe_calls(run, (1,), OPTIONS, silent)
    file = run.probe_file("calls")
    document = json.loads(file.read_text())
    kept = {**document["curves"][0], "rungs": []}  # that it is kept, and not made again, can be seen
    file.write_text(json.dumps({**document, "curves": [kept]}))
    after, _ = probe_calls(run, (1,), OPTIONS, silent)
    assert after.curves[0].rungs == () and after.curves[1:] == record.curves[1:]


@pytest.mark.parametrize(("ladder", "told"), [((), "none"), ((0, 1), "0, 1"), ((1, 1001), "1, 1001")])
def test_a_ladder_is_of_numbers_from_1_to_1000(run: RunDir, ladder: tuple[int, ...], told: str) -> None:
    with pytest.raises(BakeoffError, match=f"--calls: {told}; allowed: whole numbers from 1 to 1000"):
        probe_calls(run, ladder, OPTIONS, silent)


def test_an_unfinished_run_is_refused(run: RunDir) -> None:
    trial = next(run.trials())
    shutil.rmtree(trial.path)
    with pytest.raises(BakeoffError, match=f"not finished \\({trial.name}\\); go on with bakeoff run --resume"):
        probe_calls(run, (1,), OPTIONS, silent)


def test_a_run_that_is_not_as_sealed_is_refused(run: RunDir) -> None:
    toml = run.path / "protocol.toml"
    toml.write_text(toml.read_text().replace("quality_margin = 0.1", "quality_margin = 0.2"))
    with pytest.raises(BakeoffError, match="not as it was sealed"):
        probe_calls(RunDir.open(run.path), (1,), OPTIONS, silent)


def test_the_command_tells_and_refuses(run: RunDir, tmp_path: Path) -> None:
    done = bakeoff("probe", run.path, "calls", "--calls", "1,2", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "one item, ms" in done.stdout and "the bar" in done.stdout
    told = bakeoff("probe", run.path, "calls", "--calls", "1,2", "--json")
    assert set(json.loads(told.stdout)) == {"calls", "solve_time", "enough", "said"}
    for arguments, why in (
        ((run.path, "call"), "probe call: unknown (did you mean calls?); allowed: calls."),
        ((run.path, "calls", "--calls", "1,x"), "--calls 1,x: allowed: whole numbers with commas between"),
        ((tmp_path / "none",), "no such run directory"),
    ):
        refused = bakeoff("probe", *arguments)
        assert refused.returncode == 2 and why in refused.stderr, refused.stderr


def test_symbols_have_no_calls(whole_run: Path, tmp_path: Path) -> None:
    """The tiny run's protocol with the sampling of symbols: what is refused before anything is read."""
    run = RunDir.open(whole_run)
    decoding = load_protocol("recall-smoke").sampling
    run.protocol = run.protocol.model_copy(update={"sampling": decoding})
    with pytest.raises(BakeoffError, match="decodes symbol after symbol"):
        probe_calls(run, (1,), replace(OPTIONS), silent)
