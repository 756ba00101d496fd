"""Random inputs of the operations, and their results and gradients in any precision."""

import torch
from torch import Tensor

from bakeoff.ops import causal_conv, selective_scan, ssd
from bakeoff.ops.causal_conv import reference as conv_reference
from bakeoff.ops.selective_scan import reference as scan_reference
from bakeoff.ops.ssd import reference as ssd_reference

Tensors = dict[str, Tensor | None]
TOLERANCE = 2e-6


def scan_inputs(B: int, L: int, D: int, N: int, *, optional: bool = True, seed: int = 0) -> Tensors:
    """What a Mamba block feeds its scan: A near -(1..N), dt bias for steps of about 0.05."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g)

    return {
        "u_BLD": normal(B, L, D),
        "dt_BLD": normal(B, L, D),
        "A_DN": -torch.arange(1, N + 1.0) * torch.exp(0.2 * normal(D, N)),
        "B_BLN": normal(B, L, N),
        "C_BLN": normal(B, L, N),
        "D_D": normal(D) if optional else None,
        "z_BLD": normal(B, L, D) if optional else None,
        "dt_bias_D": normal(D) - 3.0 if optional else None,
        "initial_state_BDN": normal(B, D, N) if optional else None,
    }


def conv_inputs(B: int, L: int, D: int, K: int, *, bias: bool = True, seed: int = 0) -> Tensors:
    g = torch.Generator().manual_seed(seed)
    return {
        "x_BLD": torch.randn(B, L, D, generator=g),
        "weight_DK": torch.randn(D, K, generator=g),
        "bias_D": torch.randn(D, generator=g) if bias else None,
    }


def ssd_inputs(
    B: int, L: int, G: int, H: int, R: int, N: int, P: int, *, initial: bool = True, seed: int = 0
) -> Tensors:
    """Decays between 1 and exp(-1) a token; weights of either sign, which a mixer does not have."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g)

    return {
        "q_BLGRN": normal(B, L, G, R, N),
        "k_BLGRN": normal(B, L, G, R, N),
        "v_BLHRP": normal(B, L, H, R, P),
        "log_decay_BLH": -torch.rand(B, L, H, generator=g),
        "w_BLH": normal(B, L, H),
        "g_BLH": normal(B, L, H),
        "initial_state_BHPN": normal(B, H, P, N) if initial else None,
    }


def tokens(L: int, backend: str) -> int:
    """L, or for Triton's interpreter, which takes milliseconds a token, half of it and at most two segments and one."""
    return min(-(-L // 2), 29) if backend == "triton" else L


def leaves(inputs: Tensors, dtype: torch.dtype | None = None) -> Tensors:
    """Fresh leaves that require gradients, in another dtype if given."""
    return {k: None if x is None else x.detach().to(dtype or x.dtype).requires_grad_() for k, x in inputs.items()}


def gradients(outputs: tuple[Tensor, ...], inputs: Tensors, seed: int = 1) -> dict[str, Tensor]:
    """Outputs, and gradients of a fixed random combination of them, by name."""
    g = torch.Generator().manual_seed(seed)
    weights = [torch.randn(y.shape, generator=g).to(y.dtype) for y in outputs]
    torch.autograd.backward(outputs, weights)
    result = {f"output {i}": y.detach() for i, y in enumerate(outputs)}
    return result | {k: x.grad for k, x in inputs.items() if x is not None and x.grad is not None}


def run_scan(inputs: Tensors, **options: bool) -> dict[str, Tensor]:
    """Through the public function and the back end in force."""
    x = leaves(inputs)
    return gradients(selective_scan(**x, return_final_state=True, **options), x)  # type: ignore[arg-type]


def exact_scan(
    inputs: Tensors, *, dt_softplus: bool = True, reverse: bool = False, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    """By the plain PyTorch loop; with dtype float32 it shows what rounding alone does."""
    x = leaves(inputs, dtype)
    return gradients(scan_reference.selective_scan(*x.values(), dt_softplus, reverse), x)  # type: ignore[arg-type]


def run_ssd(inputs: Tensors, **options: bool) -> dict[str, Tensor]:
    x = leaves(inputs)
    return gradients(ssd(**x, return_final_state=True, **options), x)  # type: ignore[arg-type]


def exact_ssd(inputs: Tensors, *, reverse: bool = False, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    x = leaves(inputs, dtype)
    return gradients(ssd_reference.ssd(*x.values(), reverse, dtype), x)  # type: ignore[arg-type]


def run_conv(inputs: Tensors, **options: object) -> dict[str, Tensor]:
    x = leaves(inputs)
    return gradients((causal_conv(**x, **options),), x)  # type: ignore[arg-type]


def exact_conv(
    inputs: Tensors, *, silu: bool = True, reverse: bool = False, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    x = leaves(inputs, dtype)
    return gradients((conv_reference.causal_conv(*x.values(), silu, reverse),), x)  # type: ignore[arg-type]


def relative_l2(x: Tensor, exact: Tensor) -> float:
    return ((x.double() - exact).norm() / exact.norm().clamp_min(1e-30)).item()


def assert_close(
    got: dict[str, Tensor],
    exact: dict[str, Tensor],
    tolerance: float = TOLERANCE,
    rounded: dict[str, Tensor] | None = None,
) -> None:
    """Relative L2 error of every entry; few elements get more: each may be a sum that nearly cancels.

    With `rounded`, the same by another float32 computation, ten times its error is allowed too: where that is large,
    the sums cancel, and no float32 computation can do much better.
    """
    assert got.keys() == exact.keys()
    for name, x in exact.items():
        assert got[name].shape == x.shape, name
        error, allowed = relative_l2(got[name], x), tolerance * (1 if x.numel() >= 32 else 20)
        if rounded is not None:
            allowed = max(allowed, 10 * relative_l2(rounded[name], x))
        assert error <= allowed, f"{name}: relative L2 error {error:.1e}, allowed {allowed:.1e}"


def assert_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, x in a.items():
        assert torch.equal(x, b[name]), name


def flipped(inputs: Tensors, names: str = "_BL") -> Tensors:
    """Every sequence in the opposite order of tokens."""
    return {k: x.flip(1) if x is not None and names in k else x for k, x in inputs.items()}
