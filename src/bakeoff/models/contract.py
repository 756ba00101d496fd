"""Checks of the contract of a mixer, as `bakeoff check-plugin` runs them on a class.

Shapes: B batch, L tokens, D = d_model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bakeoff.models import costs
from bakeoff.models.conditioning import AdaLNBranch
from bakeoff.models.contract_steps import D_MODEL, steps_clauses
from bakeoff.models.matching import STEP

LENGTHS = (1, 2, 49)


@dataclass(frozen=True)
class ContractCheck:
    name: str
    passed: bool
    detail: str


def check_mixer(kind: type[nn.Module], options: Mapping[str, Any]) -> list[ContractCheck]:
    """Checks every clause of the contract separately; a clause that raises fails with the error as its detail."""
    bench = _Bench(kind, dict(options))
    first = _run("is built from (d_model, width, **options)", bench.builds)
    if not first.passed:
        return [first]
    clauses: list[tuple[str, Callable[[], str]]] = [
        ("maps (B, L, D) to (B, L, D)", bench.shapes),
        ("the width widens it", bench.widens),
        ("every parameter and the input get a finite gradient", bench.gradients),
        ("the same seed gives the same weights and the same output", bench.deterministic),
        ("a second call gives the same as the first", bench.stateless),
        ("its initialisation is its own and is left alone", bench.initialisation),
        ("samples of a batch do not meet", bench.batch_independent),
        ("runs under bf16 autocast", bench.autocast),
        ("names its matrices", bench.matrices),
        ("states flops(L)", bench.flops),
        ("states state_bytes(L)", bench.state_bytes),
        *steps_clauses(bench.build_causal, costs.state_bytes),
    ]
    return [first, *(_run(name, clause) for name, clause in clauses)]


def _run(name: str, clause: Callable[[], str]) -> ContractCheck:
    try:
        return ContractCheck(name, True, clause())
    except AssertionError as error:
        return ContractCheck(name, False, str(error))
    except Exception as error:  # a plug-in may raise anything, and the check reports it
        return ContractCheck(name, False, f"{type(error).__name__}: {error}")


class _Bench:
    def __init__(self, kind: type[nn.Module], options: dict[str, Any]) -> None:
        self.kind, self.options = kind, options
        self.width = costs.expand_of(kind) * D_MODEL

    def build(self, width: int | None = None, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return self.kind(D_MODEL, width or self.width, **self.options)

    def build_causal(self) -> nn.Module:
        """As a causal objective builds it: reading forward, or only what came before."""
        torch.manual_seed(0)
        causal = {"causal": True} if getattr(self.kind, "reads", None) == "both ways" else {}
        return self.kind(D_MODEL, self.width, **(causal | self.options)).eval()

    def input(self, B: int, L: int) -> Tensor:
        return torch.randn(B, L, D_MODEL, generator=torch.Generator().manual_seed(7))

    def builds(self) -> str:
        mixer = self.build()
        return f"{sum(p.numel() for p in mixer.parameters()):,} parameters at d_model {D_MODEL}, width {self.width}"

    def shapes(self) -> str:
        mixer = self.build()
        for L in LENGTHS:
            y_BLD = mixer(self.input(3, L))
            assert isinstance(y_BLD, Tensor), f"returns {type(y_BLD).__name__}, not a tensor"
            assert y_BLD.shape == (3, L, D_MODEL), f"(3, {L}, {D_MODEL}) became {tuple(y_BLD.shape)}"
            assert y_BLD.dtype == torch.float32, f"float32 became {y_BLD.dtype}"
            assert y_BLD.isfinite().all(), f"values that are not finite at L = {L}"
        return f"at L = {', '.join(map(str, LENGTHS))}"

    def widens(self) -> str:
        if costs.width_name_of(self.kind) is None:
            return "width_name is None: it keeps its nominal width when sizes are matched"
        counts = []
        for width in (STEP, self.width, 2 * self.width + STEP):
            mixer = self.build(width)
            assert mixer(self.input(1, 5)).shape == (1, 5, D_MODEL), f"wrong shape at width {width}"
            counts.append(sum(p.numel() for p in mixer.parameters()))
        assert counts == sorted(set(counts)), f"parameters at growing widths: {counts}"
        return f"{counts[0]:,} < {counts[1]:,} < {counts[2]:,} parameters"

    def gradients(self) -> str:
        mixer, x_BLD = self.build(), self.input(2, 9).requires_grad_()
        mixer(x_BLD).square().sum().backward()
        named = [("the input", x_BLD), *mixer.named_parameters()]
        missing = [name for name, tensor in named if tensor.grad is None]
        assert not missing, f"no gradient: {', '.join(missing)}"
        bad = [name for name, tensor in named if tensor.grad is not None and not tensor.grad.isfinite().all()]
        assert not bad, f"not finite: {', '.join(bad)}"
        return f"{len(named)} tensors"

    def deterministic(self) -> str:
        one, other = self.build(), self.build()
        for (name, p), q in zip(one.named_parameters(), other.parameters(), strict=True):
            assert torch.equal(p, q), f"{name} differs between two builds from one seed"
        x_BLD = self.input(2, 9)
        assert torch.equal(one(x_BLD), other(x_BLD)), "outputs differ"
        return "two builds"

    def stateless(self) -> str:
        mixer, x_BLD = self.build(), self.input(2, 9)
        first = mixer(x_BLD)
        mixer(self.input(1, 5))
        assert torch.equal(first, mixer(x_BLD)), "an earlier call changes a later one"
        return "with a call of another shape between"

    def initialisation(self) -> str:
        mixer = self.build()
        before = {name: tensor.clone() for name, tensor in mixer.state_dict().items()}
        dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
        branch = AdaLNBranch(mixer, D_MODEL)
        branch(self.input(1, 3), torch.zeros(1, D_MODEL))
        for name, tensor in mixer.state_dict().items():
            assert torch.equal(tensor, before[name]), f"{name} changed by being wrapped or called"
        assert (dtype, grad) == (torch.float32, True), "it changes torch's global settings"
        return f"{len(before)} tensors unchanged by the trunk"

    def batch_independent(self) -> str:
        mixer, x_BLD = self.build().eval(), self.input(3, 9)
        together, alone = mixer(x_BLD), torch.cat([mixer(x_BLD[i : i + 1]) for i in range(3)])
        gap = (together - alone).abs().max().item()
        assert gap < 1e-4, f"a sample alone differs from it in a batch by {gap:.1e}"
        return f"largest difference {gap:.0e}"

    def matrices(self) -> str:
        """Of the names, those that its options leave out may be missing, but not all."""
        named = getattr(self.kind, "matrices", ())
        found = {name: one for name, one in self.build().named_parameters() if name in named}
        assert found or not named, f"none of {', '.join(named)} is a parameter"
        wrong = [f"{name} {tuple(one.shape)}" for name, one in found.items() if one.dim() != 2]
        assert not wrong, f"Muon takes two axes; here are {', '.join(wrong)}"
        return ", ".join(found) or "none: AdamW takes all of it"

    def autocast(self) -> str:
        mixer, x_BLD = self.build(), self.input(2, 9)
        exact = mixer(x_BLD)
        with torch.autocast("cpu", torch.bfloat16):
            y_BLD = mixer(x_BLD)
        gap = ((y_BLD.float() - exact).norm() / exact.norm().clamp_min(1e-6)).item()
        assert gap < 0.1, f"relative difference from float32 {gap:.2f}"
        return f"relative difference from float32 {gap:.3f}"

    def flops(self) -> str:
        mixer = self.build()
        found = {L: costs.flops(mixer, L, D_MODEL) for L in LENGTHS}
        if "flops" in costs.unstated(self.kind):
            return f"not stated: counted by torch, {found[49]:,} at L = 49, and marked as measured"
        assert list(found.values()) == sorted(found.values()), f"falls with L: {found}"
        return f"{found[49]:,} at L = 49"

    def state_bytes(self) -> str:
        mixer = self.build()
        found = {L: costs.state_bytes(mixer, L, D_MODEL) for L in LENGTHS}
        if "state_bytes" in costs.unstated(self.kind):
            return f"not stated: taken as all inputs so far, {found[49]:,} at L = 49, and marked as measured"
        return f"{found[49]:,} at L = 49"
