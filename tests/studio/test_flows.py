"""Flows over HTTP: what a stream holds is what the models make; bad questions are answered in words."""

import base64
import io
import json
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import httpx
import numpy as np
import pytest
from PIL import Image

from bakeoff.errors import BakeoffError
from bakeoff.protocol.presets import load_protocol
from bakeoff.protocol.sections.sampling import Sampling
from bakeoff.run.directory import RunDir
from bakeoff.seeding import derived_seed
from bakeoff.studio.query import Query
from bakeoff.trial.checkpoint import load_model
from serving import events, studio

BACKBONES = ["mamba", "transformer", "hybrid"]


def picture(data: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(28, 28)


def frames(found: list, backbone: str) -> list[np.ndarray]:
    return [picture(data["image"]) for name, data in found if name == "frame" and data["backbone"] == backbone]


def expected(run: Path, backbone: str, label: int, noise: int, sampling: Sampling, count: int = 1) -> np.ndarray:
    """(S + 1, count, 28, 28), straight from the weights."""
    loaded = load_model(run / f"trials/{backbone}-s0/model.safetensors")
    task, prompts = loaded.task, loaded.task.prompts(count, label)
    states = loaded.generator().states(prompts, sampling, derived_seed("studio", noise))
    return np.stack([task.items(x, prompts).arrays["images"] for x in states])


@pytest.mark.parametrize("solver,cost", [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_every_frame_is_what_the_model_makes_of_the_shared_noise(
    run: Path, client: httpx.Client, solver: Literal["euler", "midpoint", "heun"], cost: int
) -> None:
    found = events(client, "/api/flow", label=7, noise=5, steps=3, solver=solver, guidance=3)
    assert found[0] == ("start", {"backbones": BACKBONES, "steps": 3}) and found[-1] == ("end", {})
    for backbone in BACKBONES:
        mine = frames(found, backbone)
        theirs = expected(run, backbone, 7, 5, Sampling(steps=3, solver=solver, guidance=3))
        assert np.array_equal(np.stack(mine), theirs[:, 0])
        assert np.array_equal(mine[0], frames(found, BACKBONES[0])[0])
    assert {data["backbone"]: data["nfe"] for name, data in found if name == "done"} == dict.fromkeys(
        BACKBONES, 2 * 3 * cost
    )


def test_backbones_advance_together(client: httpx.Client) -> None:
    order = [(data["step"], data["backbone"]) for name, data in events(client, "/api/flow", steps=4) if name == "frame"]
    assert order == [(step, backbone) for step in range(5) for backbone in BACKBONES]


def test_a_strip_is_64_finished_samples(run: Path, client: httpx.Client) -> None:
    found = events(client, "/api/strip", label=2, noise=1, steps=2)
    assert [name for name, _ in found] == ["strip"] * 3 + ["end"]
    for _, data in found[:-1]:
        sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image"].partition(",")[2]))))
        tiles = sheet.reshape(4, 28, 16, 28).swapaxes(1, 2).reshape(64, 28, 28)
        made = expected(run, data["backbone"], 2, 1, Sampling(steps=2, guidance=2), 64)[-1]
        assert np.abs((255 - tiles.astype(int)) - made).max() <= 1  # a batch of another size may round otherwise


def test_every_flow_begins_with_the_noise_of_its_seed(client: httpx.Client) -> None:
    def begins(noise: int) -> set[str]:
        return {data["image"] for name, data in events(client, "/api/flow", noise=noise, steps=1)[1:4]}

    assert len(begins(9)) == 1 and begins(9) != begins(10)


def test_what_is_judged_blind_is_not_shown_here_by_name(run: Path, client: httpx.Client) -> None:
    opened = RunDir.open(run)
    for name, data in events(client, "/api/strip", noise=0, trained=0):
        if name == "strip":
            sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image"].partition(",")[2]))))
            shown = 255 - sheet.reshape(4, 28, 16, 28).swapaxes(1, 2).reshape(64, 1, 28, 28).astype(int)
            judged = opened.trial(data["backbone"], 0).items()["images"].astype(int)
            assert np.abs(shown - judged).mean((2, 3)).min() > 1


def test_many_at_once_share_the_models_and_get_their_own_answers(address: str) -> None:
    def ask(noise: int) -> list:
        with httpx.Client(base_url=address, timeout=120) as talking:
            found = events(talking, "/api/flow", label=noise % 10, noise=noise % 4, steps=3)
            return [event for event in found if event[0] == "frame"]

    with ThreadPoolExecutor(12) as many:
        together = list(many.map(ask, range(12)))
    assert together == [ask(noise) for noise in range(12)]


@pytest.mark.parametrize(
    "query,said",
    [
        ("steps=0", "greater than or equal to 1"),
        ("steps=51", "less than or equal to 50"),
        ("steps=ten", "steps = 'ten'"),
        ("noise=-1", "noise"),
        ("noise=2147483648", "2147483647"),
        ("label=10", "label"),
        ("guidance=nan", "guidance"),
        ("guidance=21", "guidance"),
        ("solver=rk45", "'euler', 'midpoint' or 'heun'"),
        ("trained=1", "trained = 1; allowed: 0"),
        ("trial=../../etc", "allowed: label, noise"),
        ("label=" + "9" * 5000, "label"),
    ],
)
@pytest.mark.parametrize("path", ["/api/flow", "/api/strip"])
def test_bad_questions_are_answered_in_words(client: httpx.Client, path: str, query: str, said: str) -> None:
    answer = client.get(f"{path}?{query}")
    assert answer.status_code == 400
    assert said in answer.json()["error"] and len(answer.text) < 1000


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2f..%2f..%2fetc/passwd",
        "/static//etc/passwd",
        "/api/judging/..%2f..%2fseal",
        "/trials/mamba-s0/model.safetensors",
        "/seal.json",
    ],
)
def test_nothing_but_the_pages_can_be_fetched(address: str, path: str) -> None:
    """Sent as it stands: a client would tidy it."""
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    import http.client

    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.putrequest("GET", path)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status in (400, 404) and "error" in json.loads(answer.read())


def test_head_is_not_answered(client: httpx.Client) -> None:
    for path in ("/api/flow", "/api/strip", "/api/live", "/api/run"):
        assert client.head(path).status_code == 405


def test_guidance_needs_models_that_have_seen_hidden_labels(tmp_path: Path) -> None:
    run = RunDir(tmp_path, load_protocol("mnist-paper"))
    assert Query().sampling(run).guidance == 1
    with pytest.raises(BakeoffError, match="allowed: 1"):
        Query(guidance=2).check(run)


def test_what_a_run_is_is_told(client: httpx.Client) -> None:
    told = client.get("/api/run").json()
    assert [(one["name"], one["trained"]) for one in told["backbones"]] == [(name, [0]) for name in BACKBONES]
    assert told["labels"] == list(range(10)) and told["noises"] is None and not told["deviations"]
    assert told["guided"] is True and told["limits"]["steps"] == [1, 50]


@pytest.mark.slow
def test_a_partial_and_a_wrong_trial_are_named_and_the_others_go_on(smoke: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(smoke, tmp_path / "run"))
    trials = run / "trials"
    (trials / "mamba-s0" / "model.safetensors").unlink()
    shutil.copyfile(trials / "hybrid-s0" / "model.safetensors", trials / "transformer-s0" / "model.safetensors")
    with studio(run) as url, httpx.Client(base_url=url, timeout=60) as client:
        found = events(client, "/api/flow", steps=1)
        assert found[0] == ("start", {"backbones": ["hybrid"], "steps": 1})
        assert {data["backbone"]: data["why"] for name, data in found if name == "missing"} == {
            "mamba": "not trained yet with seed 0",
            "transformer": "the weights that lie here are of another model (hybrid)",
        }
        assert Counter(name for name, _ in found)["frame"] == 2
        assert any("transformer-s0" in change for change in client.get("/api/run").json()["deviations"])


@pytest.mark.slow
def test_new_weights_are_seen(smoke: Path, tmp_path: Path) -> None:
    """A run in progress: what was not there a moment ago is there now."""
    run = Path(shutil.copytree(smoke, tmp_path / "run"))
    weights = run / "trials/mamba-s0/model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    with studio(run) as url, httpx.Client(base_url=url, timeout=60) as client:
        assert events(client, "/api/flow", steps=1)[0][1]["backbones"] == ["transformer", "hybrid"]
        weights.write_bytes(content)
        assert events(client, "/api/flow", steps=1)[0][1]["backbones"] == BACKBONES
