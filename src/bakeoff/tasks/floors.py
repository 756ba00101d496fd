"""The memoriser's floor of a data set: what no loss on it can be below."""

from dataclasses import replace

from bakeoff.data import as_images, load_mnist
from bakeoff.objectives import Floor, memoriser_floor
from bakeoff.tasks.digits import DigitsTask, TrainingSet

DRAWS = 2048  # a standard error of 1 % on MNIST


def mnist_floor(pixel_range: tuple[float, float], train_images: int, draws: int = DRAWS) -> Floor:
    """The floor of unconditional flow matching, t uniform, on MNIST's first `train_images` images in a pixel range."""
    floor = memoriser_floor(as_images(load_mnist("train").images_NHW[:train_images]), draws=draws)
    low, high = pixel_range
    scale = (high - low) / 2  # the images are in [-1, 1], and the floor grows in proportion
    return replace(floor, value=scale * floor.value, stderr=scale * floor.stderr)


def task_floor(task: DigitsTask, data: TrainingSet, draws: int = DRAWS) -> Floor:
    """The floor of a protocol's own loss: on its tokens, with its labels, label dropout and times."""
    training = task.protocol.training
    labels_N = data.labels_N if task.classes else None
    return memoriser_floor(
        data.x_NLC, labels_N, label_dropout=training.label_dropout, times=training.times, draws=draws
    )
