"""Arrays that are kept on a machine: damage is found and mended, and the place is the user's to choose."""

from pathlib import Path

import numpy as np
import pytest

from bakeoff.data.made import home, kept
from bakeoff.errors import BakeoffError

ARRAYS = {"x": np.arange(12, dtype=np.int16), "y": np.ones(3, np.float32)}


def test_whatever_byte_is_damaged_the_arrays_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_HOME", str(tmp_path))
    kept("some", lambda: ARRAYS)
    path = tmp_path / "made" / "some.npz"
    content = path.read_bytes()
    for at in range(len(content)):
        for bit in (0, 3, 7):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
            found = kept("some", lambda: ARRAYS)
            assert all(np.array_equal(found[key], value) for key, value in ARRAYS.items()), (at, bit)


def test_what_is_kept_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_HOME", str(tmp_path))
    kept("some", lambda: ARRAYS)
    found = kept("some", lambda: pytest.fail("made again"))
    assert all(np.array_equal(found[key], value) for key, value in ARRAYS.items())


def test_the_place_is_named_or_in_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setenv("BAKEOFF_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("BAKEOFF_HOME")
    with pytest.raises(BakeoffError, match="BAKEOFF_HOME=FOLDER"):
        home()
