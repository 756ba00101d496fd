"""When a native step serves and when the plain one does, and what is said where neither can."""

import copy
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from step_mixers import READ, assert_near, back_end, built, every_case, in_float64, parts, stepped, tokens
from torch import nn
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from bakeoff.errors import BackendMissing
from bakeoff.models.mixers import Attention, Mlp
from bakeoff.ops import dispatch
from bakeoff.ops import step as native

pytestmark = pytest.mark.skipif(dispatch.NATIVE is None, reason="native kernels not built")


@pytest.fixture(autouse=True)
def auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_BACKEND", "auto")


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the native steps that were called."""
    names: list[str] = []

    class Recorder:
        def __getattr__(self, name: str) -> Any:
            def call(*arguments: Any) -> Any:
                names.append(name)
                return getattr(dispatch.NATIVE, name)(*arguments)

            return call

    for name in ("attention", "gru", "mamba", "mamba2", "mamba3", "mlp"):
        monkeypatch.setattr(sys.modules[f"bakeoff.ops.step.{name}"], "NATIVE", Recorder())
    yield names


@every_case
def test_inference_in_float32_is_native(case: str, called: list[str]) -> None:
    mixer = built(case)
    stepped(mixer, tokens(mixer, 2))
    assert len(called) == 9 and set(called) == {f"{type(mixer).__name__.lower()}_step"}


@pytest.mark.parametrize("backend", ["auto", "native"])
@every_case
def test_no_plain_operation_computes_what_the_kernels_serve(
    case: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixer = built(case)
    with torch.no_grad():
        _, state = mixer.prefill(tokens(mixer, 2), mixer.start(2))
        monkeypatch.setattr(F, "linear", None)
        monkeypatch.setattr(nn.GRU, "forward", None)
        with back_end(backend):
            mixer.step(tokens(mixer, 2)[:, 0], state)


@every_case
def test_the_reference_back_end_is_plain(case: str, called: list[str]) -> None:
    mixer = built(case)
    with back_end("reference"):
        stepped(mixer, tokens(mixer, 2))
    assert not called


@every_case
def test_the_state_is_changed_in_place(case: str) -> None:
    """No step allocates a state, but where a cache of keys and values has to grow."""
    mixer = built(case)
    x_BLD = tokens(mixer, 2)
    with torch.no_grad():
        _, state = mixer.prefill(x_BLD[:, :READ], mixer.start(2))
        _, state = mixer.step(x_BLD[:, READ], state)  # brings it into the kernels' form
        if isinstance(mixer, Attention) and mixer.window is None:
            state.reserve(1, x_BLD)
        before = [part.data_ptr() for part in parts(state) if part.dtype == torch.float32]
        _, state = mixer.step(x_BLD[:, READ + 1], state)
    assert [part.data_ptr() for part in parts(state) if part.dtype == torch.float32] == before


@every_case
def test_gradients_are_the_plain_steps(case: str, called: list[str]) -> None:
    mixer = built(case)
    y_BD, _ = mixer.step(tokens(mixer, 2)[:, 0], mixer.start(2))
    assert y_BD.requires_grad and not called
    x_BD = tokens(mixer, 2)[:, 0].requires_grad_()
    (slope,) = torch.autograd.grad(mixer.step(x_BD, mixer.start(2))[0].sum(), x_BD)
    assert slope.any()


@every_case
def test_frozen_parameters_need_no_gradient(case: str, called: list[str]) -> None:
    mixer = built(case).requires_grad_(False)
    mixer.step(tokens(mixer, 2)[:, 0], mixer.start(2))
    assert called


@every_case
def test_other_precisions_are_the_plain_steps(case: str, called: list[str]) -> None:
    mixer = built(case).bfloat16()
    with torch.no_grad():
        y_BD, _ = mixer.step(tokens(mixer, 2)[:, 0].bfloat16(), mixer.start(2))
    assert y_BD.dtype == torch.bfloat16 and not called


def test_autocast_and_dispatch_modes_are_the_plain_steps(called: list[str]) -> None:
    mixer = built("mlp")
    x_BD = tokens(mixer, 2)[:, 0]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert mixer.step(x_BD, None)[0].dtype == torch.bfloat16
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        mixer.step(x_BD, None)
    assert counter.get_total_flops() == 2 * mixer.flops(1)
    assert not called


def changed_in_place(mixer: Any) -> None:
    other = {name: one + 0.1 for name, one in mixer.state_dict().items()}
    mixer.load_state_dict(other)


def replaced(mixer: Any) -> None:
    for module in mixer.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(parameter.detach() - 0.1))


def swapped(mixer: Any) -> None:
    for parameter in mixer.parameters():
        parameter.data = parameter.data * 1.1


@pytest.mark.parametrize("change", [changed_in_place, replaced, swapped])
@every_case
def test_changed_parameters_are_seen(case: str, change: Any) -> None:
    mixer = built(case)
    x_BLD = tokens(mixer, 2)
    before_BLD, _ = stepped(mixer, x_BLD)
    with torch.no_grad():
        change(mixer)
    y_BLD, _ = stepped(mixer, x_BLD)
    assert not torch.equal(y_BLD, before_BLD)
    assert_near(y_BLD, in_float64(mixer, x_BLD)[0], case)


class Doubled(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.weight = inner, inner.weight  # what a kernel would read

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * self.inner(x)


class Halved(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / 2


def put_in_place(mixer: Any, name: str) -> None:
    setattr(mixer, name, Doubled(getattr(mixer, name)))


def hooked(mixer: Any, name: str) -> None:
    getattr(mixer, name).register_forward_hook(lambda module, given, y: 2 * y)


def parametrised(mixer: Any, name: str) -> None:
    parametrize.register_parametrization(getattr(mixer, name), "weight", Halved())


@pytest.mark.parametrize("change", [put_in_place, hooked, parametrised])
@every_case
def test_what_stands_in_place_of_a_part_is_not_passed_over(case: str, change: Any, called: list[str]) -> None:
    mixer = built(case)
    x_BLD = tokens(mixer, 2)
    change(mixer, "down" if isinstance(mixer, Mlp) else "out_proj")
    y_BLD, _ = stepped(mixer, x_BLD)
    assert not called
    assert_near(y_BLD, in_float64(mixer, x_BLD)[0], case)
    with back_end("native"), pytest.raises(BackendMissing, match="replaced, parametrised or given hooks"):
        stepped(mixer, x_BLD)


def test_a_parametrised_mixer_is_read_as_it_computes() -> None:
    mixer = built("mamba")
    parametrize.register_parametrization(mixer, "D", Halved())
    x_BLD = tokens(mixer, 2)
    assert_near(stepped(mixer, x_BLD)[0], in_float64(mixer, x_BLD)[0], "outputs")


@every_case
def test_a_forced_back_end_never_falls_back(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mixer = built(case)
    x_BD, state = tokens(mixer, 2)[:, 0], mixer.start(2)
    monkeypatch.setenv("BAKEOFF_BACKEND", "native")
    with pytest.raises(BackendMissing, match=r"forces the native kernels.*torch\.no_grad"):
        mixer.step(x_BD, state)
    with torch.no_grad():
        with pytest.raises(BackendMissing, match="float64"):
            mixer.step(x_BD.double(), state)
        with torch.autocast("cpu", torch.bfloat16), pytest.raises(BackendMissing, match="autocast"):
            mixer.step(x_BD, state)
        monkeypatch.setattr(dispatch, "_WHY_NOT_NATIVE", f"not built; {dispatch.INSTALL_HINT}")
        with pytest.raises(BackendMissing, match=r"pip install \."):
            mixer.step(x_BD, state)
        monkeypatch.setenv("BAKEOFF_BACKEND", "auto")
        mixer.step(x_BD, state)


@every_case
def test_a_token_of_another_shape_is_refused(case: str) -> None:
    mixer = built(case)
    x_BD = tokens(mixer, 2)[:, 0]
    with torch.no_grad():
        for wrong in (x_BD[:, :-1], x_BD.unsqueeze(1), torch.cat([x_BD, x_BD], 1)):
            with pytest.raises(ValueError, match="x_BD has shape"):
                mixer.step(wrong, mixer.start(2))
        if not isinstance(mixer, Mlp):
            with pytest.raises(ValueError, match="has shape"):
                mixer.step(x_BD, mixer.start(3))


def test_a_parameter_of_another_shape_is_refused() -> None:
    mixer = built("mamba")
    x_BD = tokens(mixer, 2)[:, 0]
    with torch.no_grad():
        for name, wrong, error, said in (
            ("A_log", nn.Parameter(torch.zeros(70, 15)), ValueError, "state_BEN has shape|A_log_EN has shape"),
            ("conv_bias", nn.Parameter(torch.zeros(69)), ValueError, "conv_bias_E has shape"),
            ("conv_bias", None, TypeError, "conv_bias_E is None"),
        ):
            spoiled = copy.deepcopy(mixer)
            setattr(spoiled, name, wrong)
            with pytest.raises(error, match=said):
                spoiled.step(x_BD, spoiled.start(2))


def test_strided_and_expanded_tensors_are_copied() -> None:
    """A state that is expanded shares memory among items, which a kernel would change for all."""
    mixer = built("mamba")
    x_BLD = tokens(mixer, 3)
    with torch.no_grad():
        _, state = mixer.prefill(x_BLD[:1, :READ], mixer.start(1))
        shared = type(state)(*(part.expand(3, -1, -1) for part in state))
        wide = torch.zeros(3, 2 * mixer.d_model)
        wide[:, ::2] = x_BLD[:, READ]
        y_BD, after = mixer.step(wide[:, ::2], shared)
        alone = [mixer.step(x_BLD[i : i + 1, READ], copy.deepcopy(state))[0] for i in range(3)]
    assert_near(y_BD, torch.cat(alone), "outputs")
    assert after.state_BEN.is_contiguous()


def test_a_cache_without_room_is_refused() -> None:
    mixer = built("attention")
    read = mixer._step_reads.of(mixer)
    given = native.AttentionInputs._make((tokens(mixer, 1)[:, 0], torch.zeros(2, 1, 4, 3, 15), None, *read))
    with pytest.raises(ValueError, match="room for 4 tokens"):
        native.attention(given, 4, 3, False, 1e-6)


def test_copies_of_a_mixer_step_alike() -> None:
    mixer = built("mamba")
    x_BLD = tokens(mixer, 2)
    assert torch.equal(stepped(copy.deepcopy(mixer), x_BLD)[0], stepped(mixer, x_BLD)[0])
