"""The seal: what changed after it is named, by `verify` file by file and by `verdict` as a deviation."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bakeoff.execute import runner
from bakeoff.judging.verdicts import sealed_verdict
from bakeoff.protocol.presets import load_protocol
from bakeoff.protocol.seal import Code, Seal, canonical, deviations, differences, digest
from bakeoff.rundir.directory import RunDir
from bakeoff.rundir.ledger import NAME, read_ledger, record, retract, sealed_files
from bakeoff.rundir.verify import verify
from command import bakeoff

SEALED = [
    "protocol.toml",
    "seal.json",
    "environment.json",
    "probes/step_time.json",
    "probes/sampling_time.json",
    "floor.json",
    "verdict.json",
    "samples.png",
    "log.jsonl",
    *(
        f"trials/{backbone}-s0/{name}"
        for backbone in ("mamba", "transformer", "hybrid")
        for name in ("metrics.jsonl", "model.safetensors", "samples.npz", "path.npz", "grid.png", "measurement.json")
    ),
]


@pytest.fixture
def copied(smoke: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(smoke, tmp_path / "run"))


def flip(path: Path, place: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def test_verify_knows_every_file_of_a_run(smoke: Path) -> None:
    found = verify(smoke)
    assert (found.outcome, found.changed, found.missing, found.notes) == ("whole", {}, [], [])
    files = {path.relative_to(smoke) for path in smoke.rglob("*") if path.is_file() and path.name != ".lock"}
    assert {str(path) for path in files if path.parts[0] != "report"} == set(
        SEALED
    )  # which can be written again and set(read_ledger(smoke).files) | {NAME} == set(SEALED)


@pytest.mark.parametrize("name", SEALED)
@pytest.mark.parametrize("place", [0.0, 0.37, 1.0])
def test_one_changed_byte_anywhere_is_named(copied: Path, name: str, place: float) -> None:
    flip(copied / name, place)
    found = verify(copied)
    assert found.outcome == "changed" and name in found.changed


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.floats(0, 1), st.sampled_from(["flip", "cut", "insert", "drop a line"]))
def test_no_change_of_the_ledger_passes(smoke: Path, tmp_path_factory, place: float, kind: str) -> None:
    run = tmp_path_factory.mktemp("ledger")
    for name in SEALED:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).hardlink_to(smoke / name) if name != NAME else shutil.copy(smoke / name, run / name)
    content = (run / NAME).read_bytes()
    at = int(place * (len(content) - 1))
    lines = content.splitlines(keepends=True)
    changed = {
        "flip": content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :],
        "cut": content[:at],
        "insert": content[:at] + b" " + content[at:],
        "drop a line": b"".join(line for i, line in enumerate(lines) if i != int(place * (len(lines) - 1))),
    }[kind]
    (run / NAME).write_bytes(changed)
    assert verify(run).outcome != "whole"


def test_verify_on_the_command_line_before_and_after_one_byte(copied: Path) -> None:
    before = bakeoff("verify", copied)
    assert before.returncode == 0 and "whole; 26 files" in before.stdout
    kept = read_ledger(copied).digest
    assert bakeoff("verify", copied, "--digest", kept).returncode == 0
    assert bakeoff("verify", copied, "--digest", "0" * 64).returncode == 3
    flip(copied / "trials/mamba-s0/model.safetensors", 0.5)
    after = bakeoff("verify", copied, "--json")
    found = json.loads(after.stdout)
    assert after.returncode == 3 and found["outcome"] == "changed"
    assert found["changed"] == {"trials/mamba-s0/model.safetensors": "content changed"}
    assert bakeoff("verify", copied / "trials").returncode == 2


def test_missing_added_and_linked_files_are_named_and_votes_have_their_own_place(copied: Path) -> None:
    (copied / "judgements.jsonl").write_text("{}\n")
    (copied / "report/report.html").write_text("x")
    (copied / "notes.txt").write_text("mine")
    found = verify(copied)
    assert found.outcome == "whole" and found.notes == ["notes.txt: not part of the run"]
    (copied / "trials/mamba-s0/grid.png").unlink()
    (copied / "trials/mamba-s1").mkdir()
    (copied / "trials/mamba-s1/measurement.json").write_text("{}")
    outside = copied.parent / "elsewhere.json"
    shutil.move(copied / "probes/step_time.json", outside)
    (copied / "probes/step_time.json").symlink_to(outside)
    assert verify(copied).changed == {
        "trials/mamba-s0/grid.png": "missing",
        "trials/mamba-s1/measurement.json": "added after the run",
        "probes/step_time.json": "is a link",
    }


def test_a_ledger_that_names_files_outside_the_run_reads_none_of_them(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run", load_protocol("smoke"))
    run.path.mkdir()
    (run.path / "seal.json").write_text("{}")
    record(run, "sealed", [run.seal])
    entry = read_ledger(run.path).entries[0]
    entry["files"] = {"../secret": "0" * 64, "/etc/passwd": "0" * 64}
    entry["hash"] = digest({key: value for key, value in entry.items() if key != "hash"})
    (run.path / NAME).write_text(canonical(entry) + "\n")
    changed = verify(run.path).changed
    assert changed["../secret"] == changed["/etc/passwd"] == "leads out of the run directory"


@pytest.mark.parametrize(
    "name,before,after,named",
    [
        ("protocol.toml", "frechet = 600.0", "frechet = 6000.0", "bar.thresholds.frechet was 600, is 6000"),
        ("protocol.toml", "frechet = 600.0", "frechet = ", "not valid TOML"),
        ("seal.json", '"judge": "', '"judge": "0', "judge: was 0"),
        ("seal.json", '"codec": "', '"codec": "0', "codec: was 0"),
        ("seal.json", 'train-images-idx3-ubyte": "', 'train-images-idx3-ubyte": "0', "train-images-idx3-ubyte: was 0"),
        ("seal.json", '"digest": "', '"digest": "0', "its protocol has digest"),
        ("seal.json", '"format": 2,\n "created', '"format": "x",\n "created', "format = "),
        ("trials/mamba-s0/measurement.json", '"loss": 1.', '"loss": 0.', "measurement.json: content changed"),
        ("probes/step_time.json", '"median": ', '"median": 0', "probes/step_time.json"),
    ],
)
def test_a_changed_seal_is_a_deviation_and_never_silence(
    copied: Path, name: str, before: str, after: str, named: str
) -> None:
    text = (copied / name).read_text()
    assert before in text
    (copied / name).write_text(text.replace(before, after, 1))
    if name == "probes/step_time.json":
        (copied / name).write_text(text.replace('"rounds"', '"round_s"', 1))
    _, verdict = sealed_verdict(copied)
    assert verdict.outcome == "deviated" and verdict.winner is None and verdict.so_far is not None
    assert any(named in change for change in verdict.deviations), verdict.deviations


@pytest.mark.slow
def test_deviated_on_the_command_line(copied: Path) -> None:
    path = copied / "protocol.toml"
    path.write_text(path.read_text().replace("lr = 0.002", "lr = 0.003"))
    done = bakeoff("verdict", copied)
    assert done.returncode == 3 and "DEVIATED" in done.stdout and "training.lr was 0.002, is 0.003" in done.stdout
    as_json = bakeoff("verdict", copied, "--json")
    document = json.loads(as_json.stdout)
    assert as_json.returncode == 3 and document["outcome"] == "deviated" and document["headline"].startswith("DEVIATED")
    again = bakeoff("run", "smoke", "--set", "training.lr=0.003", "--out", copied, "--resume")
    assert again.returncode == 2 and "training.lr was 0.002, is 0.003" in again.stderr


def test_another_code_version_is_noted_and_no_deviation(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bakeoff.judging.verdicts.running_code", lambda: Code(version="9.9", commit="f" * 40, dirty=True)
    )
    _, verdict = sealed_verdict(copied)
    assert verdict.outcome != "deviated"
    assert any("read by bakeoff 9.9 (ffffffffffff, with changes)" in note for note in verdict.notes)


def test_another_judge_deviates_and_is_not_gone_on_with(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = runner.inputs(load_protocol("smoke")) | {"judge": "1" * 64}
    monkeypatch.setattr("bakeoff.rundir.sealed.inputs", lambda _: other)
    monkeypatch.setattr("bakeoff.execute.runner.inputs", lambda _: other)
    assert sealed_verdict(copied)[1].outcome == "deviated"
    with pytest.raises(runner.BakeoffError, match="judge: was"):
        runner.prepare(copied, load_protocol("smoke"), resume=True)


@pytest.mark.slow
def test_seal_then_run_needs_no_resume_and_begins_there(tmp_path: Path) -> None:
    out = tmp_path / "sealed"
    done = bakeoff("seal", "smoke", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    sealed = json.loads(done.stdout)
    assert sealed["digest"] == load_protocol("smoke").digest() == digest(sealed["protocol"])
    assert sealed["code"]["version"] and {one["check"] for one in sealed["lint"]} >= {"parameters", "tokens", "FLOPs"}
    assert sealed["inputs"] == runner.inputs(load_protocol("smoke"))
    assert {path.name for path in out.iterdir()} == {"protocol.toml", "seal.json", "log.jsonl"}
    assert bakeoff("verify", out).returncode == 1  # nothing changed, nothing finished
    again = runner.prepare(out, load_protocol("smoke"), resume=False)
    assert json.loads(again.seal.read_text())["created"] == sealed["created"]


def test_a_damaged_ledger_is_rebuilt_and_says_so(copied: Path) -> None:
    lines = (copied / NAME).read_text().splitlines(keepends=True)
    (copied / NAME).write_text("".join(lines[:3]) + lines[3][:40])
    assert verify(copied).changed[NAME] == "its end is damaged"
    opened = RunDir.open(copied)
    record(opened, "resumed", [opened.environment])
    found = verify(copied)
    assert found.outcome == "whole" and any("recorded anew after damage" in note for note in found.notes)


def test_damage_to_the_log_does_not_launder_a_changed_file(copied: Path) -> None:
    flip(copied / "trials/mamba-s0/measurement.json", 0.1)
    with open(copied / NAME, "ab") as file:
        file.write(b"x")
    opened = RunDir.open(copied)
    record(opened, "resumed", [opened.environment])
    assert verify(copied).changed == {"trials/mamba-s0/measurement.json": "content changed"}


@pytest.mark.parametrize("missing", ["seal.json", "log.jsonl"])
def test_what_was_begun_is_not_sealed_again(copied: Path, missing: str) -> None:
    (copied / missing).unlink()
    path = copied / "protocol.toml"
    path.write_text(path.read_text().replace("quality_margin = 0.1", "quality_margin = 0.2"))
    changed = load_protocol(str(path))
    with pytest.raises(runner.BakeoffError):
        runner.prepare(copied, changed, resume=True)
    assert verify(copied).outcome == "changed"


def test_the_seal_stands_in_the_first_line_and_once(copied: Path) -> None:
    seal = copied / "seal.json"
    seal.write_text(seal.read_text().replace('"created": "2', '"created": "3'))
    record(RunDir.open(copied), "sealed", [seal])
    assert "seal.json" in verify(copied).changed


def test_a_part_that_is_made_again_is_told_and_can_be_killed_in_between(copied: Path) -> None:
    opened = RunDir.open(copied)
    trial = opened.trial("mamba", 0)
    retract(opened, "trial mamba-s0 is run again", runner.sealed_paths(trial))
    assert verify(copied).outcome == "incomplete" and not verify(copied).changed
    trial.measurement_file.write_text(trial.measurement_file.read_text().replace('"wall_s": ', '"wall_s": 1'))
    record(opened, "trial mamba-s0", sealed_files(trial.path), only_new=True)
    found = verify(copied)
    assert found.outcome == "whole"
    assert "trials/mamba-s0/measurement.json: made 2 times, with different contents; the last one stands" in found.notes


def test_an_earlier_digest_is_known_and_says_what_came_since(copied: Path) -> None:
    earlier = read_ledger(copied).entries[-2]["hash"]
    found = verify(copied, earlier)
    assert found.outcome == "whole" and any("recorded since: verdict.json" in note for note in found.notes)


def test_a_model_of_another_size_than_the_sealed_plan_says_deviates(copied: Path) -> None:
    seal = json.loads((copied / "seal.json").read_text())
    seal["plan"]["backbones"][0]["params"] += 1
    (copied / "seal.json").write_text(json.dumps(seal))
    assert any("the sealed plan says" in change for change in sealed_verdict(copied)[1].deviations)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_the_canonical_form_reads_back_to_the_same_digest(value: object) -> None:
    document = {"b": value, "a": [value]}
    assert digest(json.loads(canonical(document))) == digest(document)
    assert differences(document, json.loads(canonical(document))) == []


def test_differences_name_keys_and_treat_one_and_one_point_zero_alike() -> None:
    before = {"a": {"b": 1, "c": [1, 2]}, "d": "x"}
    assert differences(before, {"a": {"b": 1.0, "c": [1, 3]}, "e": True}) == [
        "a.c.1 was 2, is 3",
        'd was "x", is absent',
        "e was absent, is true",
    ]
    assert differences({str(i): i for i in range(30)}, {})[-1] == "and 18 more"
    inputs = {"judge": "j", "codec": "c"}
    seal = Seal(created="", digest=digest(before), protocol=before, inputs=inputs, code=Code(version="1"), plan={})
    assert deviations(seal, before, inputs) == []
