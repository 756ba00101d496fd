"""Blind judging over HTTP: nothing tells whose a set is before the last vote, and everything afterwards."""

import base64
import hashlib
import io
import json
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from bakeoff.protocol.votes.sessions import commitment
from bakeoff.rundir.directory import RunDir
from serving import studio

NAMES = ("mamba", "transformer", "hybrid", "smoke")
VOTES = ("clean", "noise", "unsure")


def vote(client: httpx.Client, session: str, item: str, said: str) -> httpx.Response:
    return client.post(f"/api/judging/{session}/votes", json={"id": item, "vote": said})


def test_a_session_from_the_first_page_to_the_reveal_tells_nothing_before_it(run: Path, client: httpx.Client) -> None:
    seen: list[str] = []

    def noted(answer: httpx.Response) -> httpx.Response:
        seen.append("\n".join([str(answer.url), *map(str, answer.headers.items()), answer.text]))
        return answer

    for path in ("/judge", "/static/judge.js", "/static/studio.css", "/static/page.js", "/static/judge-reveal.js"):
        assert noted(client.get(path)).status_code == 200
    begun = noted(client.post("/api/judging", json={"who": "Ada"}))
    assert begun.status_code == 201
    session, items = begun.json()["session"], begun.json()["items"]
    assert len(items) == 6 and len({item["id"] for item in items}) == 6
    assert noted(client.get(f"/api/judging/{session}")).json()["items"] == items
    for place, item in enumerate(items):
        early = noted(client.get(f"/api/judging/{session}/reveal"))
        assert early.status_code == 409 and "left" in early.json()["error"]
        assert noted(vote(client, session, item["id"], VOTES[place % 3])).json() == {"left": 5 - place}
    for text in seen:
        assert not any(name in text.lower() for name in NAMES), text[:500]
    # no answer is of another shape or size of its metadata for one backbone than for another
    assert {Image.open(picture(item)).size for item in items} == {(4 * 28, 4 * 28)}

    told = client.get(f"/api/judging/{session}/reveal").json()
    assert hashlib.sha256((told["salt"] + told["mapping"]).encode()).hexdigest() == told["commitment"]
    mapping = json.loads(told["mapping"])
    for item, unveiled in zip(items, told["items"], strict=True):
        backbone, seed, first, size, _ = mapping[item["id"]]
        assert (unveiled["id"], unveiled["backbone"], unveiled["seed"]) == (item["id"], backbone, seed)
        opened = RunDir.open(run)
        images = opened.trial(backbone, seed).items()["images"][first : first + size]
        shown = 255 - np.asarray(Image.open(picture(item))).reshape(4, 28, 4, 28).swapaxes(1, 2).reshape(16, 28, 28)
        assert np.array_equal(shown, images)
    votes = [one["vote"] for one in told["items"]]
    assert votes == [VOTES[place % 3] for place in range(6)]
    assert sum(one["clean"] for one in told["backbones"]) == 2 and len(told["backbones"]) == 3
    assert vote(client, session, items[0]["id"], "noise").status_code == 400
    log = (run / "judgements.jsonl").read_text()
    assert told["commitment"] in log and log.count('"vote"') >= 6


def picture(item: dict) -> io.BytesIO:
    return io.BytesIO(base64.b64decode(item["image"].partition(",")[2]))


def test_the_task_says_what_people_are_asked(client: httpx.Client) -> None:
    told = client.get("/api/judging").json()
    assert told == {"question": "whether its digits are clean, whether it is noise"}


@pytest.mark.slow
def test_a_session_outlives_its_server(smoke: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(smoke, tmp_path / "run"))
    with studio(run) as url, httpx.Client(base_url=url, timeout=30) as client:
        begun = client.post("/api/judging", json={"who": "Grace"}).json()
        vote(client, begun["session"], begun["items"][0]["id"], "clean")
    with studio(run) as url, httpx.Client(base_url=url, timeout=30) as client:
        again = client.get(f"/api/judging/{begun['session']}").json()
        assert again["items"] == begun["items"] and again["voted"] == {begun["items"][0]["id"]: "clean"}
        for item in again["items"]:
            vote(client, begun["session"], item["id"], "noise")
        told = client.get(f"/api/judging/{begun['session']}/reveal").json()
        assert {one["vote"] for one in told["items"]} == {"noise"}
        assert told["commitment"] == commitment(told["salt"], told["mapping"])


@pytest.mark.parametrize(
    "body,status",
    [
        ({}, 400),
        ({"who": 3}, 400),
        ({"who": ""}, 400),
        ({"who": "x" * 41}, 400),
        ({"who": "a\u202eb"}, 400),
        ([], 400),
        ({"who": "x" * 5000}, 413),
    ],
)
def test_a_name_has_to_be_one(client: httpx.Client, body: object, status: int) -> None:
    answer = client.post("/api/judging", json=body)
    assert answer.status_code == status and answer.json()["error"]


def test_bad_votes_are_refused(client: httpx.Client) -> None:
    begun = client.post("/api/judging", json={"who": "Eve"}).json()
    session, item = begun["session"], begun["items"][0]["id"]
    assert "clean, noise, unsure" in vote(client, session, item, "mine").json()["error"]
    assert vote(client, session, "f" * 32, "clean").status_code == 400
    assert vote(client, "f" * 32, item, "clean").status_code == 400
    assert client.get(f"/api/judging/{session}").json()["voted"] == {}
    for content in (b"", b"{", b"[" * 3000, b"\xff\xfe"):
        url = f"/api/judging/{session}/votes"
        assert client.post(url, content=content, headers={"content-type": "application/json"}).status_code == 400


@pytest.mark.slow
@pytest.mark.parametrize("damaged", ["samples.npz", "measurement.json"])
def test_a_damaged_run_is_told_without_naming_whose(smoke: Path, tmp_path: Path, damaged: str) -> None:
    run = Path(shutil.copytree(smoke, tmp_path / "run"))
    (run / "trials/mamba-s0" / damaged).write_bytes(b"x")
    with studio(run) as url, httpx.Client(base_url=url, timeout=30) as client:
        answer = client.post("/api/judging", json={"who": "Ada"})
        assert answer.status_code == 500 and "bakeoff verify" in answer.json()["error"]
        assert not any(name in answer.text for name in (*NAMES, str(run)))
