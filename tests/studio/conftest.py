"""One studio over a copy of the smallest finished run."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from browsing import browser  # noqa: F401
from serving import studio


@pytest.fixture(scope="module")
def run(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be judged, damaged, gone on with."""
    return Path(shutil.copytree(smoke, tmp_path_factory.mktemp("studio") / "run"))


@pytest.fixture(scope="module")
def address(run: Path) -> Iterator[str]:
    with studio(run) as url:
        yield url


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as talking:
        yield talking
