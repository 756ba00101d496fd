"""Attention and MLP as later Transformers have them: shared keys, normed queries, windows, gated MLPs."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from rotation import rotated
from torch import Tensor

from bakeoff.errors import BakeoffError
from bakeoff.models.mixers import Attention, Mlp
from bakeoff.protocol.presets import load_protocol

VARIANTS: list[dict[str, Any]] = [
    {"kv_heads": 2},
    {"kv_heads": 1, "rope": True},
    {"qk_norm": True},
    {"window": 5},
    {"window": 1},
    {"window": 64},
    {"kv_heads": 2, "qk_norm": True, "window": 3, "rope": True},
]


def defined(mixer: Attention, x_BLD: Tensor) -> Tensor:
    """Token by token, head by head: the softmax over what a token may read, in float64."""
    p = {name: one.detach().double() for name, one in mixer.named_parameters()}
    shared, P, L = mixer.heads // mixer.kv_heads, mixer.channels, x_BLD.shape[1]
    qkv = x_BLD.double() @ p["qkv.weight"].T + p["qkv.bias"]
    q, k, v = (one.unflatten(-1, (-1, P)).transpose(1, 2) for one in qkv.split(mixer.parts, -1))
    if "q_norm.weight" in p:
        q, k = (
            x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * p[f"{n}_norm.weight"]
            for x, n in ((q, "q"), (k, "k"))
        )
    if mixer.rope:
        q, k = rotated(q, torch.arange(L)[:, None]), rotated(k, torch.arange(L)[:, None])
    heads = []
    for head in range(mixer.heads):
        keys, values = k[:, head // shared], v[:, head // shared]
        rows = []
        for t in range(L):
            first = 0 if mixer.window is None else max(0, t - mixer.window + 1)
            last = t + 1 if mixer.causal else L if mixer.window is None else min(L, t + mixer.window)
            scores = (keys[:, first:last] @ q[:, head, t, :, None])[..., 0] / P**0.5
            rows.append((scores.softmax(-1)[:, None] @ values[:, first:last])[:, 0])
        heads.append(torch.stack(rows, 1))
    return torch.cat(heads, -1) @ p["out_proj.weight"].T + p["out_proj.bias"]


def build(causal: bool, **options: Any) -> Attention:
    torch.manual_seed(0)
    mixer = Attention(16, 32, causal=causal, **options)
    for norm in (mixer.q_norm, mixer.k_norm):
        if norm is not None:
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    return mixer


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("L", [1, 2, 17])
def test_it_is_its_definition(options: dict[str, Any], causal: bool, L: int) -> None:
    mixer, x_BLD = build(causal, **options), torch.randn(2, L, 16)
    torch.testing.assert_close(mixer(x_BLD).double(), defined(mixer, x_BLD), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("cuts", [(1, 2, 3, 17), (4, 5, 6, 7, 8, 17), (9, 17), tuple(range(1, 18))])
def test_any_split_goes_on_as_forward_reads(options: dict[str, Any], cuts: tuple[int, ...]) -> None:
    mixer, x_BLD = build(True, **options), torch.randn(2, 17, 16)
    state, ys, first = mixer.start(2), [], 0
    for last in cuts:
        y, state = mixer.prefill(x_BLD[:, first:last], state)
        ys.append(y)
        first = last
    torch.testing.assert_close(torch.cat(ys, 1), mixer(x_BLD), rtol=1e-5, atol=1e-6)
    kept = 2 * state.length * mixer.kv_heads * mixer.channels * 4
    assert (state.read, kept) == (17, mixer.state_bytes(17))


def test_a_window_bounds_state_and_work() -> None:
    free, bound = build(True), build(True, window=8)
    assert bound.state_bytes(100) == bound.state_bytes(1000) < free.state_bytes(100)
    linear = 2 * 16 * 96 + 2 * 32 * 16
    assert bound.flops(20) == 20 * linear + 4 * 32 * sum(min(t + 1, 8) for t in range(20))
    assert free.flops(20) == 20 * linear + 4 * 32 * 400
    shared = build(True, kv_heads=1)
    assert shared.state_bytes(10) * 4 == free.state_bytes(10)


def test_a_gated_mlp_is_its_formula() -> None:
    torch.manual_seed(0)
    mixer, x_BLD = Mlp(16, 24, gate="swiglu"), torch.randn(2, 5, 16)
    p = {name: one.double() for name, one in mixer.named_parameters()}
    assert set(p) == {"gate.weight", "up.weight", "down.weight"}
    x = x_BLD.double()
    expected = (F.silu(x @ p["gate.weight"].T) * (x @ p["up.weight"].T)) @ p["down.weight"].T
    torch.testing.assert_close(mixer(x_BLD).double(), expected, rtol=1e-5, atol=1e-5)
    assert mixer.flops(5) == 5 * 2 * 3 * 16 * 24


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("mixers.attention.kv_heads=3", "kv_heads = 3 does not divide heads"),
        ("mixers.attention.window=-1", "mixers.attention.window"),
        ("mixers.mlp.gate=relu", "mixers.mlp.gate"),
    ],
)
def test_bad_options_are_named(change: str, said: str) -> None:
    with pytest.raises(BakeoffError, match=said):
        load_protocol("smoke", [change])
