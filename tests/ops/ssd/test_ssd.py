"""The state space dual form against its definition token by token; its states, ranks, groups and bad input."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bakeoff.ops import ssd
from bakeoff.ops.selective_scan import selective_scan
from bakeoff.ops.ssd.reference import LONGEST, segment_sums

LENGTHS = (1, 2, 7, LONGEST - 1, LONGEST, LONGEST + 1, 150, 196)
SIZES = [  # G, H, R, N, P
    (1, 1, 1, 1, 1),
    (1, 4, 1, 8, 5),
    (2, 4, 1, 6, 3),
    (4, 4, 2, 5, 3),
    (2, 6, 4, 3, 7),
]


def inputs(L: int, G: int, H: int, R: int, N: int, P: int, seed: int = 0, B: int = 2) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    return {
        "q_BLGRN": normal(B, L, G, R, N),
        "k_BLGRN": normal(B, L, G, R, N),
        "v_BLHRP": normal(B, L, H, R, P),
        "log_decay_BLH": -torch.rand(B, L, H, generator=g, dtype=torch.float64),
        "w_BLH": normal(B, L, H),
        "g_BLH": normal(B, L, H),
    }


def definition(
    q_BLGRN: Tensor,
    k_BLGRN: Tensor,
    v_BLHRP: Tensor,
    log_decay_BLH: Tensor,
    w_BLH: Tensor,
    g_BLH: Tensor,
    initial_state_BHPN: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Token by token: what is read before the token is added, and the token for itself."""
    heads = v_BLHRP.shape[2] // q_BLGRN.shape[2]
    q, k = (x.repeat_interleave(heads, 2) for x in (q_BLGRN, k_BLGRN))
    B, L, H, _, P = v_BLHRP.shape
    h = v_BLHRP.new_zeros(B, H, P, q.shape[-1]) if initial_state_BHPN is None else initial_state_BHPN
    ys = []
    for t in range(L):
        h = log_decay_BLH[:, t].exp()[..., None, None] * h
        own = torch.einsum("bhjp,bhjn->bhpn", v_BLHRP[:, t], k[:, t])
        ys.append(torch.einsum("bhpn,bhin->bhip", h + g_BLH[:, t, :, None, None] * own, q[:, t]))
        h = h + w_BLH[:, t, :, None, None] * own
    return torch.stack(ys, 1), h


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_it_is_its_definition(L: int, sizes: tuple[int, ...]) -> None:
    given = inputs(L, *sizes)
    y, final = ssd(**given, return_final_state=True)
    expected, state = definition(**given)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(final, state, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ssd(**given), y, rtol=0, atol=0)


@pytest.mark.parametrize("cut", [1, 30, LONGEST, 99])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_any_split_equals_the_whole(cut: int, sizes: tuple[int, ...]) -> None:
    given = inputs(100, *sizes)
    whole, state = ssd(**given, return_final_state=True)
    first, handed = ssd(**{name: x[:, :cut] for name, x in given.items()}, return_final_state=True)
    rest = {name: x[:, cut:] for name, x in given.items()}
    second, final = ssd(**rest, initial_state_BHPN=handed, return_final_state=True)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(final, state, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("L", [1, 5, LONGEST + 1])
def test_reverse_is_the_flip(L: int) -> None:
    given = inputs(L, 2, 4, 2, 5, 3)
    y, final = ssd(**given, reverse=True, return_final_state=True)
    flipped, state = definition(**{name: x.flip(1) for name, x in given.items()})
    torch.testing.assert_close(y, flipped.flip(1), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(final, state, rtol=1e-10, atol=1e-10)


def test_many_ranks_are_the_sum_of_single_ones() -> None:
    """MIMO: y of query i is the sum over j of single-rank calls with query i, key j and value j."""
    given = inputs(90, 2, 4, 3, 5, 7)
    y = ssd(**given)
    for i in range(3):
        total = torch.zeros_like(y[:, :, :, 0])
        for j in range(3):
            one = given | {"q_BLGRN": given["q_BLGRN"][:, :, :, [i]]}
            one |= {name: given[name][:, :, :, [j]] for name in ("k_BLGRN", "v_BLHRP")}
            total += ssd(**one)[:, :, :, 0]
        torch.testing.assert_close(y[:, :, :, i], total, rtol=1e-10, atol=1e-10)


def test_one_state_a_channel_is_mambas_scan() -> None:
    """With one decay for all channels and w = g = dt, Mamba-1's recurrence is the same operator."""
    B, L, H, P, N = 2, 70, 3, 4, 5
    given = inputs(L, 1, H, 1, N, P)
    dt_BLH = torch.rand(B, L, H, dtype=torch.float64)
    A_H = -torch.rand(H, dtype=torch.float64)
    y = ssd(**given | {"log_decay_BLH": dt_BLH * A_H, "w_BLH": dt_BLH, "g_BLH": dt_BLH})
    scanned = selective_scan(
        given["v_BLHRP"].reshape(B, L, H * P),
        dt_BLH.repeat_interleave(P, -1),
        A_H.repeat_interleave(P)[:, None].expand(H * P, N),
        given["k_BLGRN"].reshape(B, L, N),
        given["q_BLGRN"].reshape(B, L, N),
        dt_softplus=False,
    )
    torch.testing.assert_close(y.reshape(B, L, H * P), scanned, rtol=1e-10, atol=1e-10)


def test_a_running_mean_by_hand() -> None:
    """N = 1, q = k = 1: y is the exponential running sum of v."""
    ones = torch.ones(1, 4, 1, 1, 1, dtype=torch.float64)
    v = torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64).reshape(1, 4, 1, 1, 1)
    halves = torch.full((1, 4, 1), 0.5, dtype=torch.float64).log()
    weights = torch.ones(1, 4, 1, dtype=torch.float64)
    y, final = ssd(ones, ones, v, halves, weights, 10 * weights, return_final_state=True)
    assert y.flatten().tolist() == pytest.approx([10, 20.5, 41.25, 82.625])
    assert final.item() == pytest.approx(8 + 4 / 2 + 2 / 4 + 1 / 8)


def test_strong_and_weak_decays_side_by_side_stay_exact() -> None:
    """A span of decays from -40 to -1e-3: no overflow, and small sums survive behind large ones."""
    given = inputs(256, 1, 2, 1, 8, 4)
    given["log_decay_BLH"] = (
        torch.where(torch.arange(256) % 64 < 2, -40.0, -1e-3).double().reshape(1, 256, 1).expand(2, -1, 2)
    )
    expected, _ = definition(**given)
    single = ssd(**{name: x.float() for name, x in given.items()})
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-4)
    a = torch.tensor([0.0, -40.0, -1e-3, -1e-3])
    assert segment_sums(a)[3, 1].item() == pytest.approx(-2e-3, rel=1e-6)
    zero = ssd(**{name: x.float() for name, x in (given | {"log_decay_BLH": 0 * given["w_BLH"]}).items()})
    assert zero.isfinite().all()


def test_gradients_are_those_of_the_definition() -> None:
    given = inputs(LONGEST + 6, 2, 4, 2, 3, 3)
    given["initial_state_BHPN"] = torch.randn(
        2, 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5)
    )

    def grads(function: Callable[..., Any]) -> list[Tensor]:
        leaves = {name: x.clone().requires_grad_() for name, x in given.items()}
        y, final = function(**leaves)
        return list(torch.autograd.grad(y.square().sum() + final.sin().sum(), list(leaves.values())))

    for mine, wanted in zip(grads(lambda **x: ssd(**x, return_final_state=True)), grads(definition), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dtypes(dtype: torch.dtype) -> None:
    given = inputs(130, 1, 4, 1, 16, 8)
    narrow = {name: x.to(dtype) if x.dim() == 5 else x.float() for name, x in given.items()}
    y, final = ssd(**narrow, return_final_state=True)
    expected, _ = definition(**{name: x.double() for name, x in narrow.items()})
    assert (y.dtype, final.dtype) == (dtype, torch.float32)
    error = (y.double() - expected).abs().max() / expected.abs().max()
    assert error < {torch.float32: 2e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}[dtype]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(ssd(**narrow), y, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"q_BLGRN": torch.zeros(2, 5, 1, 1)}, ValueError, "q_BLGRN has 4 axes"),
        ({"k_BLGRN": torch.zeros(2, 5, 1, 1, 7)}, ValueError, "k_BLGRN has shape"),
        ({"v_BLHRP": torch.zeros(2, 5, 4, 2, 3)}, ValueError, "v_BLHRP has shape"),
        ({"w_BLH": torch.zeros(2, 5, 3)}, ValueError, "w_BLH has shape"),
        ({"g_BLH": torch.zeros(2, 5, 4, dtype=torch.int64)}, TypeError, "g_BLH has dtype"),
        ({"g_BLH": 1.0}, TypeError, "g_BLH is of type float"),
        ({"reverse": 1}, TypeError, "reverse is 1"),
        ({"initial_state_BHPN": torch.zeros(2, 4, 8, 3)}, ValueError, "initial_state_BHPN has shape"),
        (
            {"q_BLGRN": torch.zeros(2, 5, 3, 1, 8), "k_BLGRN": torch.zeros(2, 5, 3, 1, 8)},
            ValueError,
            "cannot be shared",
        ),
        ({"q_BLGRN": torch.zeros(2, 0, 1, 1, 8)}, ValueError, "it must be at least 1"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        ssd(**{**inputs(5, 1, 4, 1, 8, 3), **change})


def test_memory_kept_for_backward_is_linear_in_the_length() -> None:
    def kept(L: int) -> int:
        found: dict[int, int] = {}

        def keep(x: Tensor) -> Tensor:
            found[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        leaves = {name: x.requires_grad_() for name, x in inputs(L, 1, 2, 1, 8, 8).items()}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            ssd(**leaves)
        return sum(found.values())

    assert kept(16 * LONGEST) < 2.2 * kept(8 * LONGEST)
