"""Making items: chunk by chunk, counted, alike with and without captured calls; and the floor of a protocol's loss."""

import pytest
import torch
from torch import Tensor

from bakeoff.objectives import Generator, build_objective
from bakeoff.objectives._cuda_graph import Captured
from bakeoff.objectives.floor import memoriser_floor
from bakeoff.protocol.presets import load_protocol
from bakeoff.tasks import build_task
from bakeoff.trial.candidate import candidates


def awake(overrides: list[str]) -> tuple[Generator, Generator, list[str]]:
    """A model that gives no zeros, with and without captured calls, and the captures that were made."""
    captures: list[str] = []

    def capture(call, device):
        captures.append(str(device))
        kept = call()

        def replay() -> None:
            kept.copy_(call())

        return kept, replay

    candidate = candidates(load_protocol("smoke", overrides))[0]
    torch.manual_seed(0)
    model = candidate.blueprint.build(candidate.blueprint.fit().widths).eval()
    for parameter in model.parameters():  # the head begins at zero
        torch.nn.init.normal_(parameter, std=0.1)
    captured = Captured(model, capture, lambda device: True)
    space = candidate.task.space
    return candidate.generator(model), Generator(candidate.objective, space, model, captured), captures


def test_chunks_of_one_shape_are_captured_once_and_sampled_alike() -> None:
    plain, ours, captures = awake(["sampling.guidance=2.0", "sampling.steps=3"])
    protocol = load_protocol("smoke", ["sampling.guidance=2.0", "sampling.steps=3"])
    prompts = build_task(protocol).prompts(7)
    expected = plain(prompts, protocol.sampling, 0, at_once=2)
    found = ours(prompts, protocol.sampling, 0, at_once=2)
    assert len(captures) == 2  # of two items and of one, each in its second step
    assert torch.equal(found.x, expected.x) and found.nfe == expected.nfe == 6
    whole = plain(prompts, protocol.sampling, 0)
    torch.testing.assert_close(whole.x, expected.x, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("solver,per_step", [("euler", 1), ("midpoint", 2), ("heun", 2)])
@pytest.mark.parametrize("guidance,copies", [(1.0, 1), (2.0, 2)])
def test_nfe_is_what_is_counted(solver: str, per_step: int, guidance: float, copies: int) -> None:
    overrides = [f"sampling.guidance={guidance}", f"sampling.solver={solver}", "sampling.steps=5"]
    protocol, (plain, *_) = load_protocol("smoke", overrides), awake(overrides)
    prompts = build_task(protocol).prompts(3)
    counted = plain(prompts, protocol.sampling, 0).nfe
    assert counted == 5 * per_step * copies == plain.objective.nfe(protocol.sampling, prompts)
    states = list(plain.states(prompts, protocol.sampling, 0))
    assert len(states) == 6 and torch.equal(states[-1], plain(prompts, protocol.sampling, 0).x)


def test_what_cannot_be_guided_is_evaluated_once() -> None:
    overrides = ["task.conditional=false", "objective.condition_dropout=0", "sampling.guidance=1.0"]
    protocol, (plain, *_) = load_protocol("smoke", overrides), awake(overrides)
    guided = protocol.sampling.model_copy(update={"guidance": 3.0})
    prompts = build_task(protocol).prompts(3)
    assert prompts.items() == 3
    assert plain(prompts, guided, 0).nfe == protocol.sampling.steps


def test_starts_do_not_depend_on_how_many_there_are() -> None:
    protocol = load_protocol("smoke")
    task, objective = build_task(protocol), build_objective(protocol)
    many: Tensor = objective.start(task.space, task.prompts(40), 3)
    for count in (1, 15, 16, 17):
        assert torch.equal(objective.start(task.space, task.prompts(count), 3), many[:count])


def test_the_floor_of_a_protocol_uses_its_tokens_labels_and_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakeoff.objectives.denoising.FLOOR_DRAWS", 64)
    changes = ["task.train_images=300", "objective.condition_dropout=0.0", "sampling.guidance=1.0"]
    protocol = load_protocol("smoke", changes)
    data = build_task(protocol).data(torch.device("cpu"))
    assert data is not None
    whole = data.whole()
    assert whole is not None and whole.x is not None
    told, free = build_objective(protocol).floor(data), memoriser_floor(whole.x, draws=64)
    dropping = build_objective(load_protocol("smoke", [changes[0], "objective.condition_dropout=0.5"])).floor(data)
    assert told is not None and dropping is not None
    assert 0 < told.value < dropping.value < free.value
