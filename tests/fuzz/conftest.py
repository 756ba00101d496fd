"""The folder that damaged files are written to; at its end, what became of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzzing import COUNT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    COUNT.clear()
    yield tmp_path_factory.mktemp("fuzz")
    refused, read, mended = (COUNT[what] for what in ("refused", "read", "mended"))
    print(f"\nfuzzed: {refused + read} damaged files, {refused} refused, {read} read; {mended} times a run was mended")
