"""The native steps against the mixers' plain steps and forward passes in float64, on every instruction set."""

import copy
from typing import Any

import pytest
import torch
from step_mixers import CASES, L, assert_near, back_end, built, every_case, in_float64, parts, stepped, tokens

from bakeoff.models.mixers import Attention, Gru, Mamba, Mamba2, Mamba3, Mlp

BATCHES = (1, 2, 3, 7, 16, 17, 128)


@every_case
def test_outputs_and_state_agree_with_float64_and_with_the_plain_step(native: str, case: str) -> None:
    mixer = built(case)
    for B in BATCHES:
        x_BLD = tokens(mixer, B)
        y_BLD, state = stepped(mixer, x_BLD)
        with back_end("reference"):
            plain = stepped(mixer, x_BLD)
        for name, (wanted_BLD, wanted) in (("float64", in_float64(mixer, x_BLD)), ("the plain step", plain)):
            assert_near(y_BLD, wanted_BLD, f"{case}, batch {B}, against {name}")
            for i, (mine, theirs) in enumerate(zip(parts(state), parts(wanted), strict=True)):
                assert_near(mine, theirs, f"{case}, batch {B}, part {i} of the state, against {name}")


@pytest.mark.parametrize("read", [1, L - 1])
@every_case
def test_steps_behind_a_prefill_are_forward(native: str, case: str, read: int) -> None:
    mixer = built(case)
    x_BLD = tokens(mixer, 3)
    y_BLD, _ = stepped(mixer, x_BLD, read)
    with back_end("reference"), torch.no_grad():
        assert_near(y_BLD, copy.deepcopy(mixer).double()(x_BLD.double())[:, read:], case)


@every_case
def test_prefills_and_steps_mix(native: str, case: str) -> None:
    """Each goes on from the state that the other leaves; native and plain steps too."""
    mixer = built(case)
    x_BLD = tokens(mixer, 2)
    with torch.no_grad():
        state, found = mixer.start(2), []
        for first, end, backend in ((0, 1, "native"), (1, 4, "native"), (4, 5, "reference"), (5, 6, "native")):
            with back_end(backend):
                if end - first == 1:
                    y_BD, state = mixer.step(x_BLD[:, first], state)
                    found.append(y_BD.unsqueeze(1))
                else:
                    y_BLD, state = mixer.prefill(x_BLD[:, first:end], state)
                    found.append(y_BLD)
        y_BLD, state = mixer.prefill(x_BLD[:, 6:], state)
    with back_end("reference"), torch.no_grad():
        exact_BLD = copy.deepcopy(mixer).double()(x_BLD.double())
    assert_near(torch.cat([*found, y_BLD], 1), exact_BLD, case)


@every_case
def test_results_do_not_depend_on_the_number_of_threads(native: str, case: str) -> None:
    assert_threads_agree(built(case), 3)


@pytest.mark.parametrize(
    "mixer",
    [
        Mamba(16, 1100),
        Mamba2(96, 192, d_state=64),
        Mamba3(96, 192, d_state=64, rank=2),
        Attention(96, 192, kv_heads=2, causal=True),
        Mlp(96, 192),
        Gru(96, 96),
    ],
    ids=lambda mixer: type(mixer).__name__,
)
def test_nor_where_they_share_the_work(native: str, mixer: Any) -> None:
    assert_threads_agree(mixer.eval(), 128)


@torch.no_grad()
def assert_threads_agree(mixer: Any, B: int) -> None:
    x_BLD, found = tokens(mixer, B), []
    _, begun = mixer.prefill(x_BLD[:, :5], mixer.start(B))
    for threads in (1, 3):
        torch.set_num_threads(threads)
        state, ys = copy.deepcopy(begun), []
        for x_BD in x_BLD[:, 5:9].unbind(1):
            y_BD, state = mixer.step(x_BD, state)
            ys.append(y_BD)
        found.append([*ys, *parts(state)])
    torch.set_num_threads(1)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("gate", ["gelu", "swiglu"])
def test_nonlinearities_hold_far_out_and_near_zero(native: str, gate: str) -> None:
    mixer = Mlp(1, 1, gate=gate)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.fill_(1.0 if parameter.dim() == 2 else 0.0)
        points = torch.cat([torch.linspace(-20, 20, 801), torch.tensor([1e-6, -1e-6, 100.0, -100.0])])[:, None]
        y, _ = mixer.step(points, None)
        with back_end("reference"):
            exact, _ = copy.deepcopy(mixer).double().step(points.double(), None)
    torch.testing.assert_close(y.double(), exact, rtol=1e-6, atol=1e-6)


def test_a_long_chain_keeps_its_angles(native: str) -> None:
    """Queries and keys turn by a quarter a token and more: no drift within 400 tokens."""
    torch.manual_seed(0)
    mixer = Mamba3(16, 32, d_state=16, heads=2).eval()
    with torch.no_grad():
        mixer.dt_bias.fill_(1.0)
    x_BLD = torch.randn(1, 400, 16, generator=torch.Generator().manual_seed(3))
    y_BLD, state = stepped(mixer, x_BLD)
    exact_BLD, _ = in_float64(mixer, x_BLD)
    assert_near(y_BLD, exact_BLD, "outputs", 1e-4)  # 400 sums of float32 angles, as the plain step makes them
    assert ((state.angle_BHS >= 0) & (state.angle_BHS < 6.2832)).all()
    with back_end("reference"):
        plain_BLD, _ = stepped(mixer, x_BLD)
    assert (y_BLD - exact_BLD).norm() <= 3 * (plain_BLD - exact_BLD).norm()


def test_a_cache_outgrows_its_room(native: str) -> None:
    torch.manual_seed(0)
    mixer = Attention(16, 16, heads=2, causal=True, rope=True).eval()
    x_BLD = torch.randn(2, 300, 16, generator=torch.Generator().manual_seed(3))
    y_BLD, state = stepped(mixer, x_BLD, 1)
    assert state.length == 300
    assert_near(y_BLD, in_float64(mixer, x_BLD, 1)[0], "outputs")


def test_no_items_give_no_outputs(native: str) -> None:
    for case in CASES:
        mixer = built(case)
        y_BLD, _ = stepped(mixer, tokens(mixer, 0))
        assert y_BLD.shape == (0, L - 5, mixer.d_model)
