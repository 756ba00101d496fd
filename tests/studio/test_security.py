"""Who is let in: loopback only without a token, no other site's page, no rebound name."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from bakeoff.studio.security import is_loopback
from command import bakeoff
from serving import studio
from tiers import slow


@pytest.mark.parametrize(
    "host,loopback",
    [
        *((host, True) for host in ("127.0.0.1", "127.8.9.1", "::1", "localhost")),
        *((host, False) for host in ("0.0.0.0", "::", "192.168.1.5", "example.org", "localhost.example.org", "")),
    ],
)
def test_what_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    "headers,status",
    [
        ({}, 200),
        ({"host": "localhost:1"}, 200),
        ({"host": "[::1]:1"}, 200),
        ({"host": "example.org"}, 421),
        ({"host": "127.0.0.1.example.org"}, 421),
        ({"host": "192.168.1.5"}, 421),
        ({"host": ""}, 421),
        ({"origin": "http://example.org"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:1", "host": "127.0.0.1:1"}, 403),
        ({"origin": "http://127.0.0.1:1", "host": "127.0.0.1:1"}, 200),
        ({"origin": "https://127.0.0.1:1", "host": "127.0.0.1:1"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, 200),
    ],
)
def test_host_and_origin_are_checked(client: httpx.Client, headers: dict[str, str], status: int) -> None:
    answer = client.get("/api/run", headers=headers)
    assert answer.status_code == status
    assert status == 200 or answer.json()["error"]


def test_a_page_of_another_site_cannot_vote(client: httpx.Client) -> None:
    for headers in ({"origin": "http://example.org"}, {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}):
        assert client.post("/api/judging", json={"who": "x"}, headers=headers).status_code == 403
    form = client.post("/api/judging", content='{"who": "x"}', headers={"content-type": "text/plain"})
    assert form.status_code == 415


@pytest.mark.parametrize("path", ["/", "/judge", "/live", "/static/studio.css", "/api/run", "/nothing"])
def test_every_answer_forbids_what_it_does_not_need(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


def test_beyond_this_machine_a_token_is_needed(run: Path) -> None:
    with studio(run, "--host", "0.0.0.0") as url:
        port, token = urlsplit(url).port, parse_qs(urlsplit(url).query)["token"][0]
        here = f"http://127.0.0.1:{port}"
        assert len(token) >= 32
        with httpx.Client(base_url=here, timeout=30) as client:
            for path in ("/", "/api/run", "/static/studio.css", "/?token=wrong", "/?token=", "/?token=%E2%82%AC"):
                assert client.get(path).status_code == 401
            assert client.get("/api/run", headers={"authorization": f"Bearer {token}"}).status_code == 200
            first = client.get(f"/judge?token={token}&x=1")
            assert (first.status_code, first.headers["location"]) == (303, "/judge?x=1")
            cookie = first.headers["set-cookie"].lower()
            assert cookie.startswith(f"bakeoff_{port}=") and "httponly" in cookie and "samesite=lax" in cookie
            assert token.lower() not in cookie  # other ports of this host are sent it, too
            assert client.get("/api/run").status_code == 200  # by the cookie
            evil = client.get(f"//example.org/?token={token}")
            assert evil.status_code == 303 and not evil.headers["location"].startswith("//")
            assert client.get("/api/run", headers={"host": "example.org"}).status_code == 421


@pytest.mark.slow
def test_a_token_of_ones_own(run: Path) -> None:
    with studio(run, "--host", "0.0.0.0", "--token", "a+b&c#d=%") as url, httpx.Client(timeout=30) as client:
        there = url.replace("0.0.0.0", "127.0.0.1")
        assert client.get(there).status_code == 303
        assert client.get(there, follow_redirects=True).status_code == 200
        assert client.get(there.partition("?")[0] + "api/run").status_code == 200


@pytest.mark.parametrize("token", ["short", *(slow(one) for one in ("with a space", "пароль-пароль", ""))])
def test_a_token_that_is_none_is_told(run: Path, token: str) -> None:
    done = bakeoff("studio", run, "--port", 0, "--no-open", "--token", token)
    assert done.returncode == 2 and "visible ASCII" in done.stderr


@pytest.mark.slow
def test_a_port_that_is_taken_is_told(run: Path, address: str) -> None:
    done = bakeoff("studio", run, "--port", urlsplit(address).port, "--no-open")
    assert done.returncode == 2 and "cannot listen" in done.stderr and "--port" in done.stderr


@pytest.mark.parametrize("what", ["missing", "file", "empty"])
def test_no_run_directory_is_told(tmp_path: Path, what: str) -> None:
    path = tmp_path / what
    if what == "file":
        path.write_text("x")
    elif what == "empty":
        path.mkdir()
    done = bakeoff("studio", path, "--no-open")
    assert done.returncode == 2 and "run directory" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("damage", ["name = '<script>alert(1)</script>'", slow("name = 3"), slow("\x00")])
def test_a_corrupt_run_gives_a_page_that_says_what_is_wrong(tmp_path: Path, damage: str) -> None:
    (tmp_path / "protocol.toml").write_text(damage)
    with studio(tmp_path) as url, httpx.Client(base_url=url, timeout=30) as client:
        page = client.get("/")
        assert page.status_code == 500 and "cannot be read" in page.text and "protocol.toml" in page.text
        assert "<script" not in page.text
        for path in ("/api/run", "/api/flow", "/api/strip"):
            assert "protocol.toml" in client.get(path).json()["error"]
        (tmp_path / "protocol.toml").unlink()
        assert "protocol.toml" in client.get("/").text
