"""The compiled kernels of the state space dual form against float64, at the sizes where they can go wrong."""

import pytest
import torch
from oracle import Tensors, assert_close, assert_equal, exact_ssd, flipped, leaves, run_ssd, ssd_inputs, tokens

from bakeoff.ops import dispatch, ssd
from bakeoff.ops.ssd import reference

TOLERANCE = 5e-6
ROWS = 64  # kRows of csrc/api.h
LENGTHS = (1, 2, 7, ROWS - 1, ROWS, ROWS + 1, 150, 196)
SIZES = [  # G, H, R, N, P
    (1, 1, 1, 1, 1),
    (1, 4, 1, 8, 5),
    (2, 4, 1, 33, 17),
    (4, 4, 2, 5, 3),
    (2, 6, 4, 16, 7),
    (1, 12, 1, 16, 24),
    (1, 2, 1, 64, 64),
    (1, 1, 70, 3, 2),  # more ranks than a chunk has rows
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("L", LENGTHS)
def test_outputs_states_and_gradients_agree_with_float64(native: str, L: int, sizes: tuple[int, ...]) -> None:
    reverse, initial = L % 3 == 1, L % 2 == 0
    inputs = ssd_inputs(2, L, *sizes, initial=initial)
    assert_close(run_ssd(inputs, reverse=reverse), exact_ssd(inputs, reverse=reverse), TOLERANCE)


@pytest.mark.parametrize("L", [1, 65])
def test_one_sample_shares_its_heads_out(compiled: str, L: int) -> None:
    """With few samples a group's heads are several work items, whose gradients of q and k are added up."""
    inputs = ssd_inputs(1, tokens(L, compiled), 1, 11, 1, 9, 10)
    assert_close(run_ssd(inputs), exact_ssd(inputs), TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_inputs_are_read_as_they_are(compiled: str, dtype: torch.dtype) -> None:
    inputs = ssd_inputs(2, tokens(70, compiled), 2, 4, 1, 16, 12)
    narrow: Tensors = {k: x.to(dtype) if x is not None and x.dim() == 5 else x for k, x in inputs.items()}
    got = run_ssd(narrow)
    assert got["output 0"].dtype == got["q_BLGRN"].dtype == dtype and got["output 1"].dtype == torch.float32
    assert_close(got, exact_ssd(narrow), {torch.bfloat16: 8e-3, torch.float16: 1e-3}[dtype])


def test_a_call_without_gradients_is_the_same(compiled: str) -> None:
    inputs = ssd_inputs(2, tokens(100, compiled), 1, 3, 1, 8, 9)
    with torch.no_grad():
        y, final = ssd(**inputs, return_final_state=True)  # type: ignore[arg-type]
        assert torch.equal(ssd(**inputs), y)  # type: ignore[arg-type]
    got = run_ssd(inputs)
    assert torch.equal(got["output 0"], y) and torch.equal(got["output 1"], final)


@pytest.mark.parametrize("sizes", [(2, 6, 2, 5, 7), (1, 16, 1, 16, 8)], ids=str)
def test_results_do_not_depend_on_the_number_of_threads(native: str, sizes: tuple[int, ...]) -> None:
    for B in (1, 3):
        inputs = ssd_inputs(B, 130, *sizes)
        one = run_ssd(inputs)
        torch.set_num_threads(3)
        assert_equal(run_ssd(inputs), one)
        torch.set_num_threads(1)


@pytest.mark.parametrize("L", [1, 5, 65])
def test_reverse_is_the_flip(native: str, L: int) -> None:
    inputs = ssd_inputs(2, L, 2, 4, 2, 5, 3)
    y, final = ssd(**inputs, return_final_state=True, reverse=True)  # type: ignore[arg-type]
    expected, state = ssd(**flipped(inputs), return_final_state=True)  # type: ignore[arg-type]
    assert torch.equal(y, expected.flip(1)) and torch.equal(final, state)


def test_views_of_a_projection_are_read_where_they_lie(native: str) -> None:
    """x, B and C are slices of one tensor in Mamba-2; an inner axis that is not contiguous is copied."""
    L, H, N, P = 70, 4, 6, 5
    inputs = ssd_inputs(2, L, 1, H, 1, N, P, initial=False)
    v, k, q = (inputs[name].flatten(2) for name in ("v_BLHRP", "k_BLGRN", "q_BLGRN"))  # type: ignore[union-attr]
    x, B, C = torch.cat([v, k, q], -1).split([H * P, N, N], -1)
    views = inputs | {
        "v_BLHRP": x.unflatten(-1, (H, P)).unsqueeze(-2),
        "k_BLGRN": B[:, :, None, None],
        "q_BLGRN": C[:, :, None, None],
    }
    assert_equal(run_ssd(views), run_ssd(inputs))
    turned = inputs["v_BLHRP"].transpose(2, 4).contiguous().transpose(2, 4)  # type: ignore[union-attr]
    assert torch.equal(ssd(**inputs | {"v_BLHRP": turned}), ssd(**inputs))  # type: ignore[arg-type]


def test_strong_and_weak_decays_side_by_side_stay_exact(compiled: str) -> None:
    """From -40 to -1e-3 a token: no overflow, and small differences survive behind large sums."""
    L = tokens(256, compiled)
    inputs = ssd_inputs(1, L, 1, 2, 1, 8, 4)
    inputs["log_decay_BLH"] = torch.where(torch.arange(L) % 64 < 2, -40.0, -1e-3).reshape(1, L, 1).repeat(1, 1, 2)
    assert_close(run_ssd(inputs), exact_ssd(inputs), TOLERANCE)
    inputs["log_decay_BLH"] = torch.zeros(1, L, 2)
    assert_close(run_ssd(inputs), exact_ssd(inputs), TOLERANCE)


def test_only_what_is_needed_is_differentiated(compiled: str) -> None:
    inputs = ssd_inputs(2, tokens(20, compiled), 1, 2, 1, 4, 3)
    x = leaves(inputs)
    _, final = ssd(**x, return_final_state=True)  # type: ignore[arg-type]
    final.sum().backward()
    assert x["v_BLHRP"].grad is not None and not x["q_BLGRN"].grad.any()  # type: ignore[union-attr]
    assert not x["g_BLH"].grad.any()  # type: ignore[union-attr]


def test_no_samples_give_no_outputs(native: str) -> None:
    y, final = ssd(**ssd_inputs(0, 5, 1, 2, 1, 4, 3), return_final_state=True)  # type: ignore[arg-type]
    assert y.shape == (0, 5, 2, 1, 3) and final.shape == (0, 2, 3, 4)


def test_the_forced_back_end_serves_every_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernels cannot serve is refused and never given to the reference in silence."""
    if dispatch.NATIVE is None:
        pytest.skip("native kernels not built")
    monkeypatch.setenv("BAKEOFF_BACKEND", "native")
    monkeypatch.setattr(reference, "ssd", None)
    for sizes in SIZES:
        run_ssd(ssd_inputs(1, 3, *sizes))
    with pytest.raises(RuntimeError, match="float64"):
        ssd(**{k: None if x is None else x.double() for k, x in ssd_inputs(1, 3, 1, 1, 1, 1, 1).items()})  # type: ignore[arg-type]
