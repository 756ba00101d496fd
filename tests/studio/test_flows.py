"""Flows over HTTP: what a stream holds is what the models make; bad questions are answered in words."""

import base64
import json
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import httpx
import numpy as np
import pytest

from bakeoff.errors import BakeoffError
from bakeoff.protocol.presets import load_protocol
from bakeoff.protocol.sections.sampling import Solver
from bakeoff.rundir.directory import RunDir
from bakeoff.seeding import derived_seed
from bakeoff.studio.controls import controls_of, offer_of, sampling_controls
from bakeoff.studio.query import query_of
from bakeoff.trial.checkpoint import load_model
from serving import events, studio

BACKBONES = ["mamba", "transformer", "hybrid"]


def picture(cell: dict) -> np.ndarray:
    assert (cell["kind"], cell["channels"]) == ("images", 1)
    return np.frombuffer(base64.b64decode(cell["data"]), np.uint8).reshape(cell["height"], cell["width"])


def frames(found: list, backbone: str) -> list[np.ndarray]:
    return [picture(data["cell"]) for name, data in found if name == "frame" and data["backbone"] == backbone]


def samples(strip: dict) -> np.ndarray:
    """(64, 28, 28)"""
    return np.stack([picture(cell) for cell in strip["cells"]])


def expected(run: Path, backbone: str, label: int, noise: int, sampling: Solver, count: int = 1) -> np.ndarray:
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
        theirs = expected(run, backbone, 7, 5, Solver(steps=3, solver=solver, guidance=3))
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
        made = expected(run, data["backbone"], 2, 1, Solver(steps=2, guidance=2), 64)[-1]
        assert samples(data).shape == made.shape == (64, 28, 28)
        assert np.abs(samples(data).astype(int) - made).max() <= 1  # a batch of another size may round otherwise


def test_every_flow_begins_with_the_noise_of_its_seed(client: httpx.Client) -> None:
    def begins(noise: int) -> set[str]:
        return {data["cell"]["data"] for name, data in events(client, "/api/flow", noise=noise, steps=1)[1:4]}

    assert len(begins(9)) == 1 and begins(9) != begins(10)


def test_what_is_judged_blind_is_not_shown_here_by_name(run: Path, client: httpx.Client) -> None:
    opened = RunDir.open(run)
    for label in range(10):
        for _, data in events(client, "/api/strip", noise=0, trained=0, label=label)[:-1]:
            judged = opened.trial(data["backbone"], 0).items()["images"].astype(int)
            assert np.abs(samples(data)[:, None].astype(int) - judged).mean((2, 3)).min() > 1


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
        ("steps=0", "steps = '0'; allowed: whole numbers 1 to 50"),
        ("steps=51", "1 to 50"),
        ("steps=ten", "steps = 'ten'"),
        ("steps=2.5", "whole numbers"),
        ("noise=-1", "noise"),
        ("noise=2147483648", "2147483647"),
        ("label=10", "allowed: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ("guidance=nan", "guidance = 'nan'; allowed: 0 to 20"),
        ("guidance=21", "0 to 20"),
        ("solver=rk45", "allowed: euler, midpoint, heun"),
        ("trained=1", "trained = '1'; allowed: 0"),
        ("trial=../../etc", "'trial': unknown; allowed: noise, label, steps, solver, guidance, trained"),
        ("steps=" + "9" * 400, "1 to 50"),
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
    assert query_of(run).sampling.guidance == query_of(run, {"guidance": "1"}).sampling.guidance == 1
    with pytest.raises(BakeoffError, match=r"guidance = 2; allowed: 1\. Trained with every label told"):
        query_of(run, {"guidance": "2"})


def test_what_a_run_is_is_told(client: httpx.Client) -> None:
    told = client.get("/api/run").json()
    assert [(one["name"], one["trained"]) for one in told["backbones"]] == [(name, [0]) for name in BACKBONES]
    assert (told["item"], told["start"]) == ("digit", "noise") and not told["deviations"]
    controls = {one["key"]: one for one in told["controls"]}
    assert list(controls) == ["noise", "label", "steps", "solver", "guidance", "trained"]
    assert controls["label"]["values"] == list(range(10)) and controls["label"]["keys"] == list("0123456789")
    assert (controls["steps"]["min"], controls["steps"]["max"]) == (1, 50)
    assert not any(one["disabled"] for one in told["controls"])


@pytest.mark.parametrize(("preset", "fourth"), [("emoji-smoke", "plant"), ("cifar10", "cat"), ("mnist-quick", None)])
def test_classes_are_named_where_numbers_do_not_say_enough(preset: str, fourth: str | None, tmp_path: Path) -> None:
    told = {one.key: one.describe() for one in controls_of(RunDir(tmp_path, load_protocol(preset)))}["label"]
    assert told["values"] == list(range(10))
    assert (told["names"][3] if told["names"] else None) == fourth and len(told["names"]) in (0, 10)


def test_every_default_and_every_end_of_a_range_is_accepted_as_it_is_described(run: Path) -> None:
    """One table: what the page may offer, the server takes, and nothing beyond it."""
    opened = RunDir.open(run)
    for control in controls_of(opened):
        told = control.describe()
        ends = told["values"] if "values" in told else [told["min"], told["max"], told["usual"]]
        for value in [told["default"], *ends]:
            assert control.parse(str(value)) == value
            query_of(opened, {told["key"]: str(value)})
        for beyond in [str(ends[0]) + "x", *([told["min"] - 1, told["max"] + 1] if "min" in told else [])]:
            with pytest.raises(BakeoffError, match=f"{told['key']} = .*; allowed: "):
                control.parse(str(beyond))


def test_a_flow_is_asked_for_with_the_protocols_own_sampling_unless_told_otherwise(run: Path) -> None:
    opened = RunDir.open(run)
    asked = query_of(opened, {"steps": "7", "noise": "5"})
    assert asked.sampling == opened.protocol.sampling.model_copy(update={"steps": 7}) and asked.noise == 5
    assert query_of(opened).sampling == opened.protocol.sampling


def test_a_task_without_labels_has_no_such_control(tmp_path: Path) -> None:
    protocol = load_protocol("mnist-paper")
    task = protocol.task.model_copy(update={"conditional": False})
    run = RunDir(tmp_path, protocol.model_copy(update={"task": task}))
    assert "label" not in {control.key for control in controls_of(run)} and query_of(run).label is None
    with pytest.raises(BakeoffError, match="'label': unknown; allowed: noise, steps"):
        query_of(run, {"label": "3"})


def test_the_training_seed_with_most_backbones_comes_first(tmp_path: Path) -> None:
    run = RunDir(tmp_path, load_protocol("mnist-paper").model_copy(update={"seeds": (0, 1, 2)}))
    assert query_of(run).trained == 0
    for name, seed in ((run.protocol.backbones[0].name, 1), (run.protocol.backbones[1].name, 1)):
        weights = run.trial(name, seed).model
        weights.parent.mkdir(parents=True)
        weights.touch()
    assert query_of(run).trained == 1 and query_of(run, {"trained": "2"}).trained == 2


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


def test_controls_follow_the_sampling_section_whatever_its_kind() -> None:
    def described(preset: str, *changes: str) -> dict[str, dict]:
        return {one.key: one.describe() for one in sampling_controls(load_protocol(preset, changes))}

    solver, decoding = described("mnist-quick"), described("recall-quick")
    assert list(solver) == ["steps", "solver", "guidance"] and list(decoding) == ["temperature"]
    assert (solver["steps"]["max"], solver["steps"]["step"]) == (50, 1)
    assert solver["solver"]["values"] == ["euler", "midpoint", "heun", "ddim", "dpmpp2m"]
    ddpm = described("smoke", 'objective={kind="ddpm", condition_dropout=0.1}')
    assert list(ddpm) == ["steps", "solver", "grid", "guidance"] and "ancestral" in ddpm["solver"]["values"]
    assert (solver["guidance"]["usual"], solver["guidance"]["max"], solver["guidance"]["step"]) == (8, 20, 0.25)
    assert (decoding["temperature"]["default"], decoding["temperature"]["min"]) == (0, 0)
    assert described("mnist-paper")["guidance"]["disabled"]


def test_a_task_whose_prompts_differ_offers_them_by_number_and_to_type() -> None:
    offer = offer_of(load_protocol("recall-quick"))
    assert (offer.start, offer.starts, offer.labels) == ("sequence", 1000, 0)
    (typed,) = offer.typed
    assert typed.parse("") == "" and typed.parse(typed.describe()["hint"]) == typed.describe()["hint"]
    with pytest.raises(BakeoffError, match="3 symbols"):
        typed.parse("1 2 3")
    assert not offer_of(load_protocol("mnist-quick")).typed
    assert not offer_of(load_protocol("recall-quick", ["task.variant=copying"])).typed
