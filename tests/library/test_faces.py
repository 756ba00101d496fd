"""What the library's objects show, and what is said of wrong names."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import bakeoff as bo
from bakeoff.protocol.presets import dump_protocol


def test_a_verdict_shows_itself_in_a_notebook() -> None:
    name = "a<b>&c"
    verdict = bo.decide({}, [{"backbone": name, "seed": 0, "loss": 1.0}])
    page = ET.fromstring(f"<div>{verdict._repr_html_()}</div>")
    cells = [cell.text for cell in page.iter("th")]
    assert name in cells and "Loss" in cells and str(verdict).startswith(f"{name} wins (indicative)")
    assert str(verdict) in [bold.text for bold in page.iter("b")]


def test_a_plan_shows_what_the_command_shows() -> None:
    planned = bo.plan("smoke")
    assert repr(planned) == "<plan of smoke; print it>"
    for shown in (str(planned), planned._repr_html_()):
        assert "Matched to 45,000 parameters" in shown and "44,740" in shown and "one seed" in shown
    assert "\x1b" not in str(planned) and ET.fromstring(planned._repr_html_()).tag == "pre"


def test_a_protocol_is_the_same_from_a_name_a_file_and_plain_values(tmp_path: Path) -> None:
    base = bo.load("smoke", seeds=[0, 1], **{"training.steps": 30, "sampling.guidance": None})
    (tmp_path / "mine.toml").write_text(dump_protocol(base))
    document = base.document()
    assert bo.load(tmp_path / "mine.toml").digest() == bo.load(document).digest() == base.digest()
    assert bo.load(document, **{"training.lr": 1e-4}).training.lr == 1e-4
    assert document == base.document()  # what was given is left as it was
    with pytest.raises(bo.BakeoffError, match=r"backbones\.9\.name = 'x': backbones\.9: expected a number from 0 to 2"):
        bo.load("smoke", **{"backbones.9.name": "x"})


def test_wrong_names_of_a_run_are_said(smoke: Path) -> None:
    run = bo.Run(smoke)
    assert repr(run) == f"Run({str(smoke)!r})" and "all eliminated" in str(run) and "<table>" in run._repr_html_()
    with pytest.raises(bo.BakeoffError, match=r"no backbone 'mambo' \(did you mean mamba\?\); it has mamba, tr"):
        run.samples("mambo")
    with pytest.raises(bo.BakeoffError, match="no seed 7; it has 0"):
        run.candidate("mamba", seed=7)
    with pytest.raises(bo.BakeoffError, match="no such run directory"):
        bo.Run(smoke / "nowhere")


def test_a_contract_names_what_is_broken() -> None:
    from torch import nn

    found = bo.check(nn.Identity)
    assert repr(found) == "<contract of Identity: broken; print it>" and not found.kept
    assert "FAILS" in str(found) and "the width widens it" in found._repr_html_()
