"""Data sets of the user's: a synthetic CIFAR-10 of the right format is read, and nothing else is."""

import hashlib
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from bakeoff.data import cifar, fashion, own
from bakeoff.data.cifar import read_cifar10, unpickled
from bakeoff.errors import BakeoffError
from bakeoff.metrics import images as judges
from bakeoff.protocol.presets import load_protocol
from bakeoff.tasks import build_task, take_data
from bakeoff.tasks.own_images import Cifar10
from bakeoff.trial.plan import lint_plan, make_plan

FILES = [*cifar.TRAIN, *cifar.TEST]


def records(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 3072) in CIFAR's order and labels (N,), as many of each class."""
    g = np.random.default_rng(seed)
    return g.integers(0, 256, (count, cifar.PIXELS), np.uint8), g.permutation(np.arange(count) % 10).astype(np.uint8)


def binary(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for seed, name in enumerate(FILES):
        pixels, labels = records(seed, count)
        (folder / f"{name}.bin").write_bytes(np.concatenate([labels[:, None], pixels], 1).tobytes())
    return folder


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a binary version of 20 records a file."""
    monkeypatch.setattr(cifar, "RECORDS", 20)
    monkeypatch.setattr(cifar, "BINARY_BYTES", 20 * (1 + cifar.PIXELS))
    monkeypatch.setenv("BAKEOFF_HOME", str(tmp_path / "home"))
    return binary(tmp_path / "given" / "cifar-10-batches-bin", 20)


def check(found: dict, count: int) -> None:
    pixels, labels = records(0, count)
    train = found["train"]
    assert train.images.shape == (5 * count, 32, 32, 3) and found["test"].images.shape == (count, 32, 32, 3)
    assert np.array_equal(train.labels_N[:count], labels)
    red, green, blue = pixels[3].reshape(3, 32, 32)
    assert np.array_equal(train.images[3], np.stack([red, green, blue], -1))


@pytest.mark.slow
def test_the_binary_version_at_its_true_size(tmp_path: Path) -> None:
    check(read_cifar10(binary(tmp_path / "cifar-10-batches-bin", 10_000)), 10_000)


def packed(folder: Path, name: str) -> Path:
    path = folder.parent / name
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=folder.name)
    return path


def test_the_folder_its_parent_and_the_archive_are_one(small: Path) -> None:
    archive = packed(small, "cifar-10-binary.tar.gz")
    for given in (small, small.parent, archive):
        check(read_cifar10(given), 20)
    alone = small.parent / "alone"
    alone.mkdir()
    archive.rename(alone / archive.name)
    check(read_cifar10(alone), 20)


class Python2(pickle._Pickler):  # pyright: ignore[reportAttributeAccessIssue]
    """Pickles as Python 2 did: texts and bytes are one type, and numpy's module has its old name."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # pyright: ignore[reportAttributeAccessIssue]

    def save_string(self, obj) -> None:
        content = obj.encode() if isinstance(obj, str) else obj
        self.write(b"T" + struct.pack("<i", len(content)) + content)
        self.memoize(obj)

    dispatch[bytes] = dispatch[str] = save_string

    @classmethod
    def dumps(cls, batch: dict) -> bytes:
        made = io.BytesIO()
        cls(made, protocol=2).dump(batch)
        return made.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def python_version(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder.mkdir()
    digests = {}
    for seed, name in enumerate(FILES):
        pixels, labels = records(seed, 20)
        content = Python2.dumps({"batch_label": name, "labels": labels.tolist(), "data": pixels})
        assert b"cnumpy.core.multiarray" in content
        (folder / name).write_bytes(content)
        digests[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(cifar, "MD5", digests)
    return folder


def test_the_python_version_holds_the_same(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = python_version(small.parent / "cifar-10-batches-py", monkeypatch)
    first, second = read_cifar10(small), read_cifar10(folder)
    for split in first:
        assert np.array_equal(first[split].images, second[split].images)
        assert np.array_equal(first[split].labels_N, second[split].labels_N)
    check(read_cifar10(packed(folder, "cifar-10-python.tar.gz")), 20)


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hostile-was-here",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Hostile()),
        pickle.dumps({"data": Hostile(), "labels": [1]}),
        pickle.dumps({"labels": [1]}),
        pickle.dumps({"data": np.zeros((2, 5), np.uint8), "labels": [1, 2]}),
        pickle.dumps({"data": np.zeros((2, 3072), np.float32), "labels": [1, 2]}),
        pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [-1]}),
        pickle.dumps([1, 2]),
        b"",
        b"cos\nsystem\n(S'touch hostile-was-here'\ntR.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
    ],
    ids=range(10),
)
def test_a_pickle_builds_arrays_and_nothing_else(content: bytes, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BakeoffError, match="not a batch of CIFAR-10"):
        unpickled(content, "x")
    assert not list(tmp_path.iterdir())


def test_a_pickle_that_is_not_the_published_one_is_not_opened(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = python_version(small.parent / "cifar-10-batches-py", monkeypatch)
    (folder / "data_batch_2").write_bytes(pickle.dumps(Hostile()))
    monkeypatch.setattr(cifar, "unpickled", lambda *_: pytest.fail("opened") if _[1].endswith("2") else records(0, 20))
    with pytest.raises(BakeoffError, match=r"data_batch_2: MD5 .* not the file of CIFAR-10, and not unpickled"):
        read_cifar10(folder)


def damage(folder: Path, how: str) -> None:
    path = folder / "data_batch_3.bin"
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
        return
    if how == "label":
        content[0] = 10
    if how == "twice":
        content = bytearray((folder / "data_batch_1.bin").read_bytes())
        content[0] = (content[0] + 1) % 10
    path.write_bytes(content[:-1] if how == "truncated" else content + b"x" if how == "long" else content)


@pytest.mark.parametrize(
    ("how", "said"),
    {
        "missing": r"data_batch_3.bin: cannot be read \(No such file",
        "truncated": "61,459 bytes; expected 61,460: 20 records",
        "long": "61,461 bytes; expected",
        "label": "label 10; CIFAR-10 has 0 to 9",
        "twice": "train images by class .* may lie here twice",
    }.items(),
)
def test_damaged_files_are_named(small: Path, how: str, said: str) -> None:
    damage(small, how)
    with pytest.raises(BakeoffError, match=said):
        read_cifar10(small)


@pytest.mark.parametrize("at", [0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_changed_byte_of_an_archive_is_found(small: Path, at: float) -> None:
    """By gzip's own checksum, or before."""
    path = packed(small, "cifar-10-binary.tar.gz")
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(BakeoffError, match="corrupted or truncated"):
        read_cifar10(path)


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_does(small: Path, monkeypatch) -> None:
    path = small.parent / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x" * 3_000_000}) as archive:
        archive.add(small, arcname=small.name)
    monkeypatch.setattr(cifar, "LARGEST", 2_000_000)
    with pytest.raises(BakeoffError, match=r"more than 2,000,000 bytes when unpacked"):
        read_cifar10(path)


def test_other_places_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.tar.gz").write_bytes(b"x")
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"no archive")
    for given, said in (
        ("nowhere", "no such folder or archive"),
        ("photo.tar.gz", "not one of CIFAR-10's archives; allowed"),
        ("cifar-10-binary.tar.gz", "corrupted or truncated"),
    ):
        with pytest.raises(BakeoffError, match=said):
            read_cifar10(tmp_path / given)
    (tmp_path / "cifar-10-binary.tar.gz").unlink()
    with pytest.raises(BakeoffError, match=r"no CIFAR-10 here; wanted: .*; it holds photo.tar.gz"):
        read_cifar10(tmp_path)


def test_an_archive_without_the_files_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("../cifar-10-batches-bin/data_batch_1.bin")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    with pytest.raises(BakeoffError, match=r"holds no cifar-10-batches-bin/data_batch_1\.bin"):
        read_cifar10(path)


def test_a_set_is_given_once_and_kept(small: Path) -> None:
    protocol = load_protocol("cifar10", ["task.train_images=60"])
    assert "bakeoff data cifar10 FOLDER" in build_task(protocol).missing()
    errors = [one.message for one in lint_plan(make_plan(protocol)) if one.level == "error"]
    assert any("bakeoff data cifar10 FOLDER" in one for one in errors)
    digest = take_data("cifar10", small)
    task = build_task(protocol)
    assert task.inputs()["cifar10"] == digest == take_data("cifar10", small.parent)
    assert "run `bakeoff calibrate cifar10` first" in task.missing()  # its judge
    assert task.inputs()["judge"] == "none yet"
    other = binary(small.parent / "other", 20)
    (other / "test_batch.bin").write_bytes((other / "data_batch_1.bin").read_bytes())
    with pytest.raises(BakeoffError, match=r"another data set than .* remove that file first"):
        take_data("cifar10", other)
    path = own.place("cifar10")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BakeoffError, match=r"damaged .* remove it, and give the images again"):
        task.inputs()


def test_images_are_compared_with_as_many_as_are_trained_on(small: Path) -> None:
    take_data("cifar10", small)
    for items in (20, 60):
        task = build_task(load_protocol("cifar10", [f"task.train_images={items}"]))
        assert isinstance(task, Cifar10)
        task.weights.parent.mkdir(parents=True, exist_ok=True)
        judges.save_judge(judges.Judge(judges.NETWORKS["cifar10"](10).eval()), task.weights)
        assert not task.missing() and len(task.real.train_NF) == items


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(BakeoffError, match=r"no data set that is to be given \(did you mean cifar10\?\)"):
        take_data("cifar", Path())


def test_fashion_is_read_from_idx_files_of_its_own_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bakeoff.data import mnist

    with pytest.raises(BakeoffError, match="corrupted or another data set: SHA-256"):
        fashion.read_fashion(mnist.SHIPPED)  # MNIST's own files have the same names
    monkeypatch.setattr(fashion, "SHA256", mnist._SHA256)
    found = fashion.read_fashion(mnist.SHIPPED)
    assert found["train"].images.shape == (60_000, 28, 28) and found["test"].labels_N.shape == (10_000,)
    with pytest.raises(BakeoffError, match="give the folder that holds Fashion-MNIST's IDX files"):
        fashion.read_fashion(tmp_path / "none")
