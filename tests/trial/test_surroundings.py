"""What a process that trains finds in its environment."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from bakeoff.trial import surroundings

LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
TOUCHES_64_MIB = """
import re
block = b"1" * 2**26
print(re.search(r"AnonHugePages:\\s+(\\d+)", open("/proc/self/smaps_rollup").read())[1])
"""


def test_a_users_own_settings_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0")
    monkeypatch.setenv("GOMP_SPINCOUNT", "0")
    assert surroundings.settled()["GLIBC_TUNABLES"] == "glibc.malloc.tcache_count=0"
    assert surroundings.settled()["GOMP_SPINCOUNT"] == "0"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert "GOMP_SPINCOUNT" not in surroundings.settled()


def asks_for_large_pages() -> bool:
    """Whether the system gives large pages to those alone who ask, and this C library can ask."""
    library, version = platform.libc_ver()
    young = library == "glibc" and tuple(map(int, version.split(".")[:2])) >= (2, 35)
    return young and LARGE_PAGES.is_file() and "[madvise]" in LARGE_PAGES.read_text()


@pytest.mark.skipif(not asks_for_large_pages(), reason="no large pages on demand here")
def test_a_process_gets_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    found = [
        int(subprocess.run([sys.executable, "-c", TOUCHES_64_MIB], env=env, capture_output=True, check=True).stdout)
        for env in ({**os.environ}, surroundings.settled())
    ]
    assert found[0] == 0 and found[1] >= 2**15  # KiB
