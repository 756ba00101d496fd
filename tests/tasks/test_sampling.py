"""Sampling through the task: chunk by chunk, the same with and without captured solves."""

import torch

from bakeoff.objectives import CapturedSolves
from bakeoff.protocol.presets import load_protocol
from bakeoff.tasks import build_task


def test_chunks_of_one_shape_are_captured_once_and_sampled_alike() -> None:
    captures = []

    def capture(work, device):
        captures.append(device)
        kept = work()

        def replay() -> None:
            kept.x.copy_(work().x)

        return kept, replay

    protocol = load_protocol("smoke", ["sampling.guidance=2.0", "sampling.steps=3"])
    task = build_task(protocol)
    torch.manual_seed(0)
    backbone = protocol.backbones[0]
    model = task.build(backbone, task.fit(backbone).widths).eval()
    for parameter in model.parameters():  # the head begins at zero
        torch.nn.init.normal_(parameter, std=0.1)
    noise, labels = task.starting_noise(7, 0), task.sample_labels(7)
    plain = task.sample(model, noise, labels, protocol.sampling, chunk=2)
    task.solves = CapturedSolves(capture, lambda device: True)
    ours = task.sample(model, noise, labels, protocol.sampling, chunk=2)
    assert len(captures) == 1  # of 2, 2, 2 and 1 samples
    assert torch.equal(ours.x, plain.x) and ours.nfe == plain.nfe == 6
    again = task.sample(model, noise, labels, protocol.sampling.model_copy(update={"steps": 5}), chunk=7)
    assert len(captures) == 1 and again.nfe == 10
