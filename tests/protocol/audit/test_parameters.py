"""Closed-form parameter counts against the instantiated mixers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.models.mixers import Attention, Mamba, Mlp
from bakeoff.protocol.audit import parameters
from bakeoff.protocol.audit.published import Block, Row, Setup

WIDTHS = st.integers(1, 12).map(lambda n: 8 * n)


def count(mixer) -> int:
    return sum(p.numel() for p in mixer.parameters())


@settings(deadline=None)
@given(WIDTHS, WIDTHS, st.integers(1, 32), st.integers(1, 8))
def test_counts_are_those_of_the_mixers(d_model: int, width: int, d_state: int, d_conv: int) -> None:
    mamba = Mamba(d_model, width, d_state=d_state, d_conv=d_conv)
    assert parameters.mamba(d_model, width, d_state, d_conv) == count(mamba)
    assert parameters.attention(d_model, width) == count(Attention(d_model, width))
    assert parameters.mlp(d_model, width) == count(Mlp(d_model, width))


def test_the_studys_mamba_block() -> None:
    assert parameters.mamba(128, 256, 64) == 153_344


def test_widths_of_a_block_go_before_the_backbones_and_these_before_the_literatures() -> None:
    setup = Setup(d_model=64, d_state=16)
    assert parameters.block_params(setup, Row(name="a", mixers=("mamba", "mlp"), repeats=2)) == 2 * (
        parameters.mamba(64, 128, 16) + parameters.mlp(64, 256)
    )
    narrow = Row(name="a", mixers=("mamba", "mlp"), expand=1, d_state=8, d_conv=3, mlp_width=100)
    assert parameters.block_params(setup, narrow) == parameters.mamba(64, 64, 8, 3) + parameters.mlp(64, 100)
    blocks = (Block(mixer="mlp", width=40, repeats=3), Block(mixer="mamba", width=72, d_state=4, d_conv=2))
    spelled = Row(name="a", blocks=blocks, expand=1, mlp_width=100)
    assert parameters.block_params(setup, spelled) == 3 * parameters.mlp(64, 40) + parameters.mamba(64, 72, 4, 2)


@pytest.mark.parametrize(
    "setup,row,said",
    [
        (Setup(d_model=8), Row(name="a"), "backbone.a.mixers is missing"),
        (Setup(), Row(name="a", mixers=("mlp",)), "setup.d_model is missing"),
        (Setup(d_model=8), Row(name="a", mixers=("mamba",)), "d_state is missing"),
        (Setup(d_model=8), Row(name="a", mixers=("rwkv",)), "a rwkv block are not known; known are mamba"),
    ],
)
def test_what_is_missing_is_said(setup: Setup, row: Row, said: str) -> None:
    assert said in str(parameters.block_params(setup, row))
