"""Every damage to an IDX file is named, with the file and what was expected."""

import gzip
import hashlib
import lzma
from pathlib import Path

import numpy as np
import pytest

from bakeoff.data.idx import read_idx
from bakeoff.data.mnist import COUNTS, SHIPPED, load_mnist
from bakeoff.errors import BakeoffError

ARRAY = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
CONTENT = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in ARRAY.shape) + ARRAY.tobytes()
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("pack,suffix", [(bytes, ""), (gzip.compress, ".gz"), (lzma.compress, ".xz")])
def test_reads_raw_gz_and_xz(tmp_path: Path, pack, suffix: str) -> None:
    path = tmp_path / f"images{suffix}"
    path.write_bytes(pack(CONTENT))
    assert np.array_equal(read_idx(path, ARRAY.shape, DIGEST), ARRAY)


DAMAGED = {
    "wrong magic": (bytes([0, 0, 9, 3]) + CONTENT[4:], "", "expected 0x00000803"),
    "empty": (b"", "", "empty file"),
    "truncated header": (CONTENT[:7], "", "truncated inside the header"),
    "truncated data": (CONTENT[:-1], "", f"expected {len(CONTENT)} bytes"),
    "too long": (CONTENT + b"x", "", "longer than its header"),
    "wrong size": (CONTENT[:7] + b"\x03" + CONTENT[8:], "", "expected (2, 3, 4)"),
    "flipped bit": (CONTENT[:-1] + b"\xff", "", "corrupted or another data set"),
    "truncated gz": (gzip.compress(CONTENT)[:-9], ".gz", "corrupted or truncated"),
    "truncated xz": (lzma.compress(CONTENT)[:-20], ".xz", "corrupted or truncated"),
    "not gz": (CONTENT, ".gz", "corrupted or truncated"),
    "not xz": (CONTENT, ".xz", "corrupted or truncated"),
    "bomb": (gzip.compress(CONTENT + bytes(10_000_000)), ".gz", "longer than its header"),
}


@pytest.mark.parametrize("content,suffix,expected", DAMAGED.values(), ids=DAMAGED)
def test_damage_is_named(tmp_path: Path, content: bytes, suffix: str, expected: str) -> None:
    path = tmp_path / f"images{suffix}"
    path.write_bytes(content)
    with pytest.raises(BakeoffError) as error:
        read_idx(path, ARRAY.shape, DIGEST)
    assert str(path) in str(error.value) and expected in str(error.value)


def test_the_whole_of_mnist_is_shipped() -> None:
    for split, count in COUNTS.items():
        digits = load_mnist(split)
        assert digits.images.shape == (count, 28, 28)
        assert set(digits.labels_N.tolist()) == set(range(10))


def test_users_own_copy(tmp_path: Path) -> None:
    for path in SHIPPED.glob("t10k-*.xz"):
        (tmp_path / (path.stem + ".gz")).write_bytes(gzip.compress(lzma.decompress(path.read_bytes()), 1))
    assert np.array_equal(load_mnist("test", tmp_path).images, load_mnist("test").images)
    with pytest.raises(BakeoffError, match="no train-images-idx3-ubyte"):
        load_mnist("train", tmp_path)
    with pytest.raises(BakeoffError, match="no such folder"):
        load_mnist("train", tmp_path / "absent")
