"""Images of any side and colour: what goes in comes out as uint8, and what cannot be is refused."""

import numpy as np
import pytest
import torch

from bakeoff.artefacts.base import Items
from bakeoff.errors import BakeoffError
from bakeoff.models.batch import Batch
from bakeoff.protocol.presets import load_protocol
from bakeoff.tasks import build_task
from bakeoff.tasks.base import Task
from bakeoff.tasks.images import Images

SMALL = ["task.train_images=40"]
FREE = ["task.conditional=false", "objective.condition_dropout=0", "sampling.guidance=1"]


def built(*changes: str, preset: str = "emoji-smoke") -> Images:
    task = build_task(load_protocol(preset, [*SMALL, *changes]))
    assert isinstance(task, Images)
    return task


@pytest.mark.parametrize("codec", ['{kind="pixel", patch=4}', '{kind="pixel", patch=8}', '{kind="pca", components=48}'])
def test_training_images_come_back_as_they_were(codec: str) -> None:
    task = built(f"codec={codec}")
    data = task.data(torch.device("cpu"))
    whole = data.whole()
    assert whole.x is not None and whole.labels_B is not None and whole.x.shape[0] == 40
    items = task.items(whole.x, Batch(labels_B=whole.labels_B, size=40))
    images = task.images("train")
    assert np.abs(items["images"].astype(int) - images.images).max() <= (1 if "pca" in codec else 0)
    assert np.array_equal(items["labels"], images.labels_N)
    assert task.space.grid == tuple([32 // task.protocol.codec.patch] * 2)  # type: ignore[union-attr]


def test_prompts_take_the_classes_in_turn_or_none() -> None:
    assert built().prompts(12).labels_B.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]  # type: ignore[union-attr]
    free = built(*FREE)
    assert free.prompts(5).labels_B is None and free.space.classes == 0
    assert "labels" not in free.items(torch.zeros(5, 64, 16), free.prompts(5))
    with pytest.raises(BakeoffError, match=r"asked_for: nothing is asked for; set task\.conditional = true"):
        built(*FREE, "bar.thresholds.asked_for=0.5")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (
            {"images": np.zeros((4, 32, 32), np.uint8)},
            r"images of shape \(32, 32\): emojis have 32 x 32 pixels of three",
        ),
        ({"images": np.zeros((4, 28, 28, 3), np.uint8)}, "32 x 32 pixels"),
        ({"text": np.zeros((4, 3), np.uint8)}, "items with text: emojis are images"),
    ],
)
def test_other_items_are_refused(arrays: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(BakeoffError, match=said):
        built().assess(Items(arrays), Batch(size=4))


@pytest.mark.parametrize(
    ("change", "said"),
    {
        "codec.patch=5": "codec.patch = 5 does not divide 32; allowed: 1, 2, 4, 8, 16, 32",
        "codec.components=49": "codec.components = 49; allowed: at most the 48 values of a patch",
        "task.pose=wild": "task.pose",
        "bar.thresholds.asked_for=1.5": "bar.thresholds.asked_for = 1.5; allowed: at least 0 and at most 1",
        "task.train_images=50001": "task.train_images",
    }.items(),
)
def test_what_cannot_be_is_refused(change: str, said: str) -> None:
    with pytest.raises(BakeoffError, match=said):
        load_protocol("emoji-smoke", [change])


def test_the_inputs_change_with_the_images_and_the_codec() -> None:
    same, other, coded = built(), built("task.pose=full"), built("codec.components=8")
    assert same.inputs() == built().inputs() and {*same.inputs()} == {"emoji", "judge", "codec"}
    assert same.inputs()["emoji"] != other.inputs()["emoji"] and same.inputs()["judge"] == other.inputs()["judge"]
    assert same.inputs()["codec"] != coded.inputs()["codec"] and same.inputs()["emoji"] == coded.inputs()["emoji"]


def test_other_images_than_a_presets_are_calibrated_on_the_machine() -> None:
    assert isinstance(built(), Task) and built().calibration() is None
    assert build_task(load_protocol("emoji-smoke")).calibration() is not None


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_batches_are_of_the_split(split) -> None:
    data = built().data(torch.device("cpu"), split=split)
    assert data.epoch_steps == (1 if split == "train" else 157)
    first, again = data.batch(0, 0), data.batch(0, 0)
    assert first.x is not None and again.x is not None and torch.equal(first.x, again.x)
