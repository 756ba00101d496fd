"""The floor of a protocol's own loss: on its tokens, with its labels and label dropout."""

import torch

from bakeoff.objectives import memoriser_floor
from bakeoff.protocol.presets import load_protocol
from bakeoff.tasks.digits import DigitsTask
from bakeoff.tasks.floors import task_floor


def test_the_floor_of_a_protocol_uses_its_tokens_labels_and_dropout() -> None:
    changes = ["task.train_images=300", "training.label_dropout=0.0", "sampling.guidance=1.0"]
    task = DigitsTask(load_protocol("smoke", changes))
    data = task.training_set(None, torch.device("cpu"))
    told, free = task_floor(task, data, draws=64), memoriser_floor(data.x_NLC, draws=64)
    assert 0 < told.value < free.value
    dropping = DigitsTask(load_protocol("smoke", [changes[0], "training.label_dropout=0.5"]))
    assert told.value < task_floor(dropping, data, draws=64).value < free.value
