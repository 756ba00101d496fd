"""Emoji are made to order: the same bytes everywhere, the picture that torch draws, kept once made."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bakeoff.data import emoji, made
from bakeoff.data.emoji import POSES, Pose, draw, load_emoji
from bakeoff.data.glyphs import SIDE, load_glyphs

GOLDEN = "ceabe9ecbffde86701cb325e30229e9bfaad1a534dcf4dd5ea7f39ba2a7de2c7"
WHOLE = "8fa7978cd08366eb859ad12c906446080c2404a1d0704f8255df5b235a16af06"


def digest(images: np.ndarray, labels_N: np.ndarray) -> str:
    return hashlib.sha256(labels_N.tobytes() + images.tobytes()).hexdigest()


def test_the_bytes_are_the_same_on_every_machine() -> None:
    drawn = [draw(split, 64) for split in ("train", "test", "unseen")]
    images, labels_N = (np.concatenate([getattr(one, name) for one in drawn]) for name in ("images", "labels_N"))
    assert digest(images, labels_N) == GOLDEN


@pytest.mark.slow
def test_the_whole_training_set_too() -> None:
    whole = draw("train", 50_000)
    assert digest(whole.images, whole.labels_N) == WHOLE


@pytest.mark.parametrize("count", [1, emoji.AT_ONCE - 1, emoji.AT_ONCE, emoji.AT_ONCE + 1])
def test_an_image_depends_on_its_number_alone(count: int) -> None:
    few, more = draw("test", count), draw("test", 3 * emoji.AT_ONCE)
    assert np.array_equal(few.images, more.images[:count]) and np.array_equal(few.labels_N, more.labels_N[:count])


def test_glyphs_of_training_and_unseen_ones_share_none() -> None:
    glyphs = load_glyphs()
    assert len(glyphs.names) == len(glyphs.rgba_GHWC) == 1440 and len(glyphs.classes) == 10
    seen, unseen = np.concatenate(glyphs.of_training()), np.concatenate(glyphs.unseen())
    assert sorted([*seen, *unseen]) == list(range(1440)) and 1440 // 9 < len(unseen) < 1440 // 8 + 1
    assert (glyphs.rgba_GHWC[..., :3] <= glyphs.rgba_GHWC[..., 3:]).all()  # colours are multiplied by opacity


@pytest.mark.parametrize("pose", POSES)
def test_it_is_what_torch_draws(pose: Pose, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same poses and grounds, sampled by torch's grid_sample and averaged: within one level of 255."""
    seen = {}
    for name in ("_sampled", "_ground"):
        real = getattr(emoji, name)

        def watched(*given, name=name, real=real):
            seen.setdefault(name, []).append((given, real(*given)))
            return seen[name][-1][1]

        monkeypatch.setattr(emoji, name, watched)
    images = draw("train", 16, pose).images
    for part, ((rgba, picked_N, matrix, shift), _) in enumerate(seen["_sampled"]):
        glyphs = torch.from_numpy(rgba[picked_N].astype(np.float32)).permute(0, 3, 1, 2)
        affine = torch.from_numpy(np.concatenate([matrix, shift[:, :, None]], 2))
        grid = F.affine_grid(affine, [len(picked_N), 4, 64, 64], align_corners=False)
        rgba_NCHW = F.avg_pool2d(F.grid_sample(glyphs, grid, align_corners=False), 2)
        ground = torch.from_numpy(seen["_ground"][part][1]).permute(0, 3, 1, 2)
        expected = rgba_NCHW[:, :3] + (255 - rgba_NCHW[:, 3:]) * ground
        drawn = torch.from_numpy(images[part * emoji.AT_ONCE :][: len(picked_N)]).permute(0, 3, 1, 2)
        assert (drawn.float() - expected).abs().max() <= 0.51


def test_poses_stay_within_their_range_and_flags_are_not_turned_round() -> None:
    u_NR = np.random.default_rng(0).random((4000, emoji.RANDOM), np.float32)
    turned_N = np.arange(4000) % 2 == 0
    for pose in POSES.values():
        matrix, shift = emoji._affine(u_NR, pose, turned_N)
        scale = 1 / np.sqrt(np.abs(np.linalg.det(matrix.astype(np.float64))))
        assert scale.min() >= pose.scale - 1e-4 and scale.max() <= 1 + 1e-4
        assert np.abs(np.arctan2(matrix[:, 1, 0], matrix[:, 1, 1])).max() <= pose.turn + 1e-4
        assert np.abs(shift).max() <= pose.shift
        flipped = np.linalg.det(matrix.astype(np.float64)) < 0
        assert not flipped[~turned_N].any() and abs(flipped[turned_N].mean() - 0.5 * pose.flip) < 0.05


def test_few_glyphs_are_taken_evenly() -> None:
    rows = load_glyphs().of_training()[0]
    assert np.array_equal(emoji._evenly(rows, 0), rows) and np.array_equal(emoji._evenly(rows, 10_000), rows)
    few = emoji._evenly(rows, 8)
    assert len({*few}) == 8 and few[0] == rows[0] and few[-1] >= rows[len(rows) * 7 // 8 - 1]


def test_classes_are_even_and_all_glyphs_appear() -> None:
    labels_N = draw("unseen", 2000).labels_N
    assert (np.bincount(labels_N, minlength=10) > 140).all() and labels_N.max() == 9
    assert SIDE == 40


def test_what_was_made_is_kept_and_a_damaged_file_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAKEOFF_HOME", str(tmp_path))
    first = load_emoji("train", 20)
    (path,) = (tmp_path / "made").iterdir()
    monkeypatch.setattr(emoji, "draw", lambda *_: pytest.fail("made again"))
    assert np.array_equal(load_emoji("train", 20).images, first.images)
    monkeypatch.undo()
    monkeypatch.setenv("BAKEOFF_HOME", str(tmp_path))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    for damaged in (bytes(content), bytes(content[:100]), b"", b"PK"):
        path.write_bytes(damaged)
        assert np.array_equal(load_emoji("train", 20).images, first.images)


def test_without_a_folder_to_write_in_it_is_made_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("BAKEOFF_HOME", str(tmp_path / "file"))
    assert np.array_equal(load_emoji("train", 3).images, draw("train", 3).images)
    assert made.home() == tmp_path / "file" and (tmp_path / "file").read_text() == "no folder"
