"""Checkpoints from anywhere: every layout gives the same weights, every misfit is named."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bakeoff.errors import BakeoffError
from bakeoff.protocol.presets import dump_protocol, load_protocol
from bakeoff.rundir.foreign_checkpoints import HEADER
from bakeoff.tasks import build_task
from bakeoff.trial import checkpoint
from bakeoff.trial.candidate import candidate_of
from bakeoff.trial.checkpoint import load_model

PROTOCOL = load_protocol("smoke")
BACKBONE = PROTOCOL.backbones[2]
CANDIDATE = candidate_of(build_task(PROTOCOL), BACKBONE)
WIDTHS = CANDIDATE.blueprint.fit().widths


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return {name: torch.randn_like(t) for name, t in CANDIDATE.blueprint.build(WIDTHS).state_dict().items()}


def prefixed(weights, *prefixes: str):
    return {"".join(prefixes) + name: t for name, t in weights.items()}


OTHER = {"other": torch.zeros(2)}
LAYOUTS = {
    "bare": lambda w: w,
    "model": lambda w: {"model": w, "step": 7},
    "state_dict": lambda w: {"state_dict": w, "epoch": 3, "optimizer": {"lr": 0.1}},
    "ema": lambda w: {"ema": w},
    "ema before model": lambda w: {"model": {k: t + 1 for k, t in w.items()}, "ema": w},
    "model in state_dict": lambda w: {"state_dict": {"model": w}},
    "module.": lambda w: prefixed(w, "module."),
    "_orig_mod.": lambda w: prefixed(w, "_orig_mod."),
    "_orig_mod.module.": lambda w: prefixed(w, "_orig_mod.", "module."),
    "module._orig_mod.": lambda w: prefixed(w, "module.", "_orig_mod."),
    "model with module.": lambda w: {"model": prefixed(w, "module.")},
    "ema with all prefixes": lambda w: {"ema": prefixed(w, "module.", "_orig_mod.", "model.")},
    "flattened": lambda w: prefixed(w, "state_dict.", "model."),
    "flattened copies": lambda w: prefixed({k: t + 1 for k, t in w.items()}, "model.") | prefixed(w, "ema."),
}
FLAT = [name for name in LAYOUTS if name in ("bare", "flattened", "flattened copies") or name.endswith("od.")]


def same(path: Path, weights, **named) -> None:
    loaded = load_model(path, **named)
    state = loaded.model.state_dict()
    assert state.keys() == weights.keys() and all(torch.equal(state[name], weights[name]) for name in weights)
    assert torch.equal(picture(loaded.model), picture(expected_model(weights)))


def expected_model(weights):
    model = CANDIDATE.blueprint.build(WIDTHS).eval()
    model.load_state_dict(weights)
    return model


def picture(model) -> torch.Tensor:
    prompts = CANDIDATE.task.prompts(2)
    tokens = CANDIDATE.generator(model)(prompts, PROTOCOL.sampling, 0).x
    return torch.from_numpy(CANDIDATE.task.items(tokens, prompts).arrays["images"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_a_torch_file_gives_the_same_weights(tmp_path: Path, weights, layout: str) -> None:
    torch.save(LAYOUTS[layout](weights), tmp_path / "x.pt")
    same(tmp_path / "x.pt", weights, protocol=PROTOCOL, backbone="hybrid")


@pytest.mark.parametrize("layout", FLAT)
def test_every_flat_layout_of_safetensors_gives_the_same_weights(tmp_path: Path, weights, layout: str) -> None:
    save_file({name: t.clone() for name, t in LAYOUTS[layout](weights).items()}, tmp_path / "x.safetensors")
    same(tmp_path / "x.safetensors", weights, protocol=PROTOCOL, backbone="hybrid")


def test_the_model_is_found_in_the_header_beside_the_file_or_in_the_run(tmp_path: Path, weights) -> None:
    checkpoint.save_model(tmp_path / "own.safetensors", weights, PROTOCOL, "hybrid", WIDTHS)
    same(tmp_path / "own.safetensors", weights)
    header = {"protocol": PROTOCOL.model_dump(mode="json"), "backbone": "hybrid", "widths": WIDTHS}
    torch.save({"model": weights, HEADER: json.dumps(header)}, tmp_path / "inside.pt")
    same(tmp_path / "inside.pt", weights)
    torch.save(weights, tmp_path / "beside.pt")
    (tmp_path / "beside.json").write_text(json.dumps(header))
    same(tmp_path / "beside.pt", weights)
    trial = tmp_path / "run/trials/hybrid-s0"
    trial.mkdir(parents=True)
    (tmp_path / "run/protocol.toml").write_text(dump_protocol(PROTOCOL))
    torch.save(prefixed(weights, "module."), trial / "mine.pt")
    same(trial / "mine.pt", weights)


def test_our_own_state_of_a_stopped_trial_can_be_sampled(tmp_path: Path, weights) -> None:
    state = {"trainer": {"model": weights, "step": 3}, "wall_s": 1.0}
    (tmp_path / "resume.ckpt").write_bytes(checkpoint.pack_state(state))
    same(tmp_path / "resume.ckpt", weights, protocol=PROTOCOL, backbone="hybrid")


def failure(path: Path, **named) -> str:
    with pytest.raises(BakeoffError) as error:
        load_model(path, **named)
    return str(error.value)


def test_misfits_are_named_key_by_key(tmp_path: Path, weights) -> None:
    torch.save({name: t for name, t in weights.items() if name != "embed.bias"} | OTHER, tmp_path / "x.pt")
    message = failure(tmp_path / "x.pt", protocol=PROTOCOL, backbone="hybrid")
    assert "missing (1): embed.bias" in message and "unexpected (1): other" in message
    torch.save(weights | {"embed.bias": torch.zeros(5)}, tmp_path / "x.pt")
    message = failure(tmp_path / "x.pt", protocol=PROTOCOL, backbone="hybrid")
    assert "wrong shape (1): embed.bias is (5,), the model has (32,)" in message
    assert "mamba, transformer, hybrid" in failure(tmp_path / "x.pt", protocol=PROTOCOL, backbone="other")


class Payload:
    def __reduce__(self):
        return (Path.touch, (Path("/tmp/bakeoff-was-here"),))


def test_damaged_missing_and_hostile_files(tmp_path: Path, weights) -> None:
    assert "which holds nothing" in failure(tmp_path / "flow_model_final.pt")
    (tmp_path / "other.pt").write_bytes(b"x")
    assert "which holds other.pt" in failure(tmp_path / "flow_model_final.pt")
    assert "no folder" in failure(tmp_path / "absent/x.pt")
    assert "is a folder" in failure(tmp_path)
    for name in ("empty.pt", "empty.safetensors"):
        (tmp_path / name).write_bytes(b"")
        assert str(tmp_path / name) in failure(tmp_path / name)
    (tmp_path / "noise.pt").write_bytes(bytes(range(256)) * 4)
    assert "read safely" in failure(tmp_path / "noise.pt")
    (tmp_path / "hostile.pt").write_bytes(pickle.dumps({"model": Payload()}))
    assert "read safely" in failure(tmp_path / "hostile.pt")
    assert not Path("/tmp/bakeoff-was-here").exists()
    torch.save([1, 2], tmp_path / "list.pt")
    assert "expected a state_dict" in failure(tmp_path / "list.pt")
    torch.save({"epoch": 3, "loss": 0.5}, tmp_path / "no_weights.pt")
    assert "holds no weights" in failure(tmp_path / "no_weights.pt")
    torch.save(weights, tmp_path / "nameless.pt")
    assert "--protocol and --backbone" in failure(tmp_path / "nameless.pt")
    checkpoint.save_model(tmp_path / "own.safetensors", weights, PROTOCOL, "hybrid", WIDTHS)
    whole = (tmp_path / "own.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "not a readable safetensors file" in failure(tmp_path / "cut.safetensors")
    tensors = load_file(tmp_path / "own.safetensors")
    for header in ("{", "[]", '{"protocol": 1, "backbone": "x", "widths": {}}', '{"protocol": {}}'):
        save_file(tensors, tmp_path / "header.safetensors", metadata={HEADER: header})
        assert "header" in failure(tmp_path / "header.safetensors")
    header = {"protocol": PROTOCOL.model_dump(mode="json"), "backbone": "hybrid", "widths": {"mamba": 10**9}}
    save_file(tensors, tmp_path / "wide.safetensors", metadata={HEADER: json.dumps(header)})
    assert "allowed: 1 to" in failure(tmp_path / "wide.safetensors")
