"""The report: one file that asks nobody for anything, says what the run says, and lets no text become code."""

import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bakeoff.protocol.audit.published import load_table
from bakeoff.report import write_report
from bakeoff.report.figures import INK
from bakeoff.report.page import SECTIONS
from bakeoff.rundir.ledger import read_ledger
from bakeoff.rundir.verify import verify
from command import bakeoff

PUBLISHED = Path(__file__).parents[2] / "examples" / "published.toml"


@pytest.fixture(scope="module")
def reported(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = Path(shutil.copytree(smoke, tmp_path_factory.mktemp("report") / "run"))
    done = bakeoff("report", run, "--published", PUBLISHED)
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout
    return run


def page(run: Path) -> str:
    return (run / "report/report.html").read_text()


def test_it_asks_nobody_for_anything(reported: Path) -> None:
    text = page(reported)
    assert not re.search(r"""(?:src|href)=["'](?!data:|#|\.\./)""", text)
    assert not re.search(r"""url\((?!data:|#)""", text) and "@import" not in text
    assert "default-src 'none'" in text and INK not in text


def test_every_section_is_there_in_order_and_says_what_the_run_says(reported: Path) -> None:
    text = page(reported)
    places = [text.index(f'<section id="{name}"') for name, _ in SECTIONS if name not in ("calls", "sweep")]
    assert places == sorted(places)
    assert "all eliminated: no backbone passes the quality bar" in text
    digest = read_ledger(reported).digest
    assert digest is not None and digest in text
    for trial in ("mamba-s0", "transformer-s0", "hybrid-s0"):
        assert f"<td>{trial}</td>" in text
    assert "one seed: any verdict is indicative" in text and "bakeoff run smoke" in text
    assert "3100000" not in text and "3,100,000" in text  # the published figures
    assert text.count("data:image/png;base64,") == 6  # a grid and a sheet of frames for each


def test_figures_are_vectors_and_markdown_links_to_them(reported: Path) -> None:
    folder = reported / "report"
    names = {path.stem for path in (folder / "figures").iterdir()}
    assert names == {"quality-against-cost", "loss-curves", "step-time"}
    for path in (folder / "figures").glob("*.svg"):
        assert ET.parse(path).getroot().tag.endswith("svg") and INK not in path.read_text()
    for path in (folder / "figures").glob("*.pdf"):
        assert path.read_bytes().startswith(b"%PDF")
    text = (folder / "report.md").read_text()
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (folder / link).is_file(), link
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) > 20 and all(line.endswith("|") for line in rows)


def test_it_is_no_part_of_what_is_sealed_and_the_same_run_gives_the_same_page(reported: Path) -> None:
    before = page(reported)
    write_report(reported, load_table(str(PUBLISHED)))
    assert page(reported) == before
    assert verify(reported).outcome == "whole"


@pytest.mark.slow
def test_a_deviated_and_a_partial_run_say_so_first(smoke: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(smoke, tmp_path / "run"))
    path = run / "protocol.toml"
    path.write_text(path.read_text().replace("lr = 0.002", "lr = 0.003"))
    write_report(run)
    assert page(run).index("training.lr was 0.002, is 0.003") < page(run).index('<section id="verdict"')
    part = Path(shutil.copytree(smoke, tmp_path / "part"))
    shutil.rmtree(part / "trials" / "hybrid-s0")
    shutil.rmtree(part / "probes")
    write_report(part)
    assert "Not finished: hybrid-s0" in page(part) and "Step time was not probed." in page(part)


def test_a_strangers_text_stays_text(smoke: Path, tmp_path: Path) -> None:
    run, evil = Path(shutil.copytree(smoke, tmp_path / "run")), "<script>alert(1)</script>|`*"
    for name, before in (("seal.json", "The whole chain"), ("protocol.toml", "The whole chain")):
        path = run / name
        path.write_text(path.read_text().replace(before, evil))
    environment = run / "environment.json"
    environment.write_text(environment.read_text().replace('"processor": "', f'"processor": "{evil}'))
    seal = run / "seal.json"
    seal.write_text(re.sub(r'"lint": \[', '"lint": [3, {"level": 1}, ', seal.read_text()))
    environment.write_text(environment.read_text().replace('"resumed_on": []', '"resumed_on": [[], 3]'))
    (run / "trials" / "<img src=x onerror=alert(1)>").write_text("")
    write_report(run)
    assert "<script>alert" not in page(run) and "<img src=x" not in page(run)
    assert "&lt;script&gt;alert(1)" in page(run)
    text = (run / "report/report.md").read_text()
    assert "<script>" not in text and r"\<script\>alert(1)\</script\>\|\`\*" in text


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    done = bakeoff("report", tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert not (tmp_path / "report").exists()
