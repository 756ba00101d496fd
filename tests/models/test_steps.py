"""Going on token by token: every mixer, and the trunk, give what they give for all tokens at once."""

from typing import Any

import pytest
import torch
from rotation import rotated
from torch import Tensor

from bakeoff.errors import BakeoffError
from bakeoff.models.backbones import build_mixers, mixer_class
from bakeoff.models.batch import Batch
from bakeoff.models.contract import check_mixer
from bakeoff.models.mixers import Attention, Mamba, Mixer, Mlp
from bakeoff.models.mixers.base import step
from bakeoff.models.trunk import Frame, Trunk
from bakeoff.protocol.space import Space

D, L, CLOSE = 32, 19, 1e-5


def causal() -> list[Mixer]:
    torch.manual_seed(0)
    mixers = [
        Mamba(D, 40, d_state=8),
        Mamba(D, 64, d_state=5, d_conv=1),
        Mamba(D, 64, d_state=5, d_conv=8),
        Mamba(D, 40, d_state=8, selective=False),
        Mamba(D, 40, d_state=8, discretise="euler"),
        Mamba(D, 40, d_state=8, discretise="none"),
        Attention(D, D, heads=4, causal=True),
        Attention(D, D, heads=2, causal=True, rope=True),
        Mlp(D, 72),
    ]
    return [mixer.eval() for mixer in mixers]


def tokens(B: int = 3, seed: int = 5) -> Tensor:
    return torch.randn(B, L, D, generator=torch.Generator().manual_seed(seed))


def read(mixer: Any, x_BLD: Tensor, parts: list[int]) -> tuple[Tensor, Any]:
    """What the mixer gives for parts of so many tokens; a part of one token is a step."""
    state, found = mixer.start(len(x_BLD)), []
    for part_BLD in x_BLD.split(parts, 1):
        if part_BLD.shape[1] == 1:
            y_BD, state = step(mixer, part_BLD[:, 0], state)
            found.append(y_BD.unsqueeze(1))
        else:
            y_BLD, state = mixer.prefill(part_BLD, state)
            found.append(y_BLD)
    return torch.cat(found, 1), state


PARTS = [[1] * L, [2] + [1] * (L - 2), [7, 1, 1, 10], [L - 1, 1], [L], [3, 4, 5, 7]]


@pytest.mark.parametrize("parts", PARTS, ids=str)
@pytest.mark.parametrize("mixer", causal(), ids=lambda mixer: type(mixer).__name__)
@torch.no_grad()
def test_every_split_gives_what_forward_gives(mixer: Mixer, parts: list[int]) -> None:
    x_BLD = tokens()
    found_BLD, _ = read(mixer, x_BLD, parts)
    torch.testing.assert_close(found_BLD, mixer(x_BLD), rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("mixer", causal(), ids=lambda mixer: type(mixer).__name__)
@torch.no_grad()
def test_a_token_alone_may_be_prefilled_too(mixer: Any) -> None:
    x_BLD = tokens()
    state, found = mixer.start(3), []
    for t in range(L):
        y_BLD, state = mixer.prefill(x_BLD[:, t : t + 1], state)
        found.append(y_BLD)
    torch.testing.assert_close(torch.cat(found, 1), mixer(x_BLD), rtol=CLOSE, atol=CLOSE)


def test_only_what_reads_forward_goes_on() -> None:
    with pytest.raises(BakeoffError, match="causal"):
        Attention(D, D).start(1)
    for direction in ("reverse", "both"):
        with pytest.raises(BakeoffError, match="forward"):
            Mamba(D, 64, direction=direction).start(1)


def test_rope_depends_on_distances_alone() -> None:
    """q_i . k_j after rotation by i and j is the same for i + 5 and j + 5, and not for another distance."""
    q, k = (torch.randn(1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) for i in (1, 2))

    def product(i: int, j: int) -> float:
        return float((rotated(q, torch.tensor([[i]])) * rotated(k, torch.tensor([[j]]))).sum())

    assert product(9, 4) == pytest.approx(product(14, 9), abs=1e-6)
    assert abs(product(9, 4) - product(9, 5)) > 1e-3
    assert rotated(q, torch.tensor([[7]])).norm() == pytest.approx(float(q.norm()), rel=1e-6)


@pytest.mark.parametrize("positions", ["none", "sinusoidal", "learned", "rope"])
@pytest.mark.parametrize("space", [Space(L, vocabulary=11), Space(L, channels=3), Space(L, vocabulary=11, classes=4)])
@pytest.mark.parametrize("conditioning", ["adaln", "adaln-single"])
@torch.no_grad()
def test_the_trunk_reads_on(positions: Any, space: Space, conditioning: Any) -> None:
    trunk, x, labels_B = _trunk(positions, space, conditioning=conditioning)
    whole_BLO = trunk(x, labels_B=labels_B)
    for parts in PARTS:
        reader = trunk.reader(Batch(labels_B=labels_B, size=3))
        assert reader is not None
        found_BLO = torch.cat([reader.read(part) for part in x.split(parts, 1)], 1)
        torch.testing.assert_close(found_BLO, whole_BLO, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_trunk_reads_its_context_first() -> None:
    space = Space(L, vocabulary=11, context=4, context_channels=2)
    trunk, x, _ = _trunk("learned", space)
    context, hidden_B = torch.randn(3, 4, 2), torch.tensor([False, True, False])
    reader = trunk.reader(Batch(context=context, hidden_B=hidden_B))
    assert reader is not None
    found_BLO = torch.cat([reader.read(x[:, :6]), reader.read(x[:, 6:])], 1)
    torch.testing.assert_close(found_BLO, trunk(x, context=context, hidden_B=hidden_B), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("at", [0, 1, 3])
@torch.no_grad()
def test_the_trunk_reads_its_class_tokens_first(at: int) -> None:
    space = Space(L, vocabulary=11, classes=4, context=4, context_channels=2)
    trunk, x, labels_B = _trunk("rope", space, class_tokens=(2, at))
    context = torch.randn(3, 4, 2)
    reader = trunk.reader(Batch(labels_B=labels_B, context=context))
    assert reader is not None
    found_BLO = torch.cat([reader.read(x[:, :6]), reader.read(x[:, 6:])], 1)
    torch.testing.assert_close(found_BLO, trunk(x, labels_B=labels_B, context=context), rtol=1e-4, atol=1e-4)


def test_symbols_beyond_the_vocabulary_are_negative() -> None:
    trunk, _, _ = _trunk("none", Space(L, vocabulary=11))
    assert isinstance(trunk.embed, torch.nn.Embedding) and trunk.embed.num_embeddings == 12
    assert torch.equal(trunk.embedded(torch.tensor([[-1, 3]])), trunk.embed(torch.tensor([[11, 3]])))


def _trunk(
    positions: Any, space: Space, class_tokens: tuple[int, int] = (0, 0), conditioning: Any = "adaln"
) -> tuple[Trunk, Tensor, Tensor | None]:
    torch.manual_seed(1)
    widths = {"mamba": 48, "attention": D, "mlp": 64}
    layers = ("mamba", "attention", "mlp", "mamba")
    read = {"context": space.context, "class_tokens": class_tokens, "rope": positions == "rope"}
    mixers = build_mixers(layers, D, widths, {}, "raster", causal=True, **read)
    count, at = class_tokens
    frame = Frame(space, D, positions, conditioning, 11, times=0, symbols=1, class_tokens=count, class_tokens_at=at)
    trunk = Trunk(frame, mixers).eval()
    for parameter in trunk.parameters():  # what begins at zero hides mistakes
        torch.nn.init.normal_(parameter, std=0.2) if parameter.dim() > 1 else None
    x = torch.randint(11, (3, L)) if space.vocabulary else torch.randn(3, L, space.channels)
    return trunk, x, torch.arange(3) if space.classes else None


# ---- the contract, as check-plugin checks it


class Averages(torch.nn.Module):
    """The mean of the tokens so far; the options spoil one clause each."""

    reads = "one way"
    width_name = None

    def __init__(self, d_model: int, width: int, *, direction: str = "forward", spoiled: str = "") -> None:
        super().__init__()
        self.weight, self.spoiled = torch.nn.Parameter(torch.ones(d_model)), spoiled

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.weight * x_BLD.cumsum(1) / torch.arange(1, x_BLD.shape[1] + 1)[:, None]

    def start(self, B: int) -> dict[str, Any]:
        return {"sum": torch.zeros(B, len(self.weight)), "read": 0}

    def prefill(self, x_BLD: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        sums_BLD = state["sum"].unsqueeze(1) + x_BLD.cumsum(1)
        places = torch.arange(state["read"] + 1, state["read"] + x_BLD.shape[1] + 1)[:, None]
        return self.weight * sums_BLD / places, {"sum": sums_BLD[:, -1], "read": state["read"] + x_BLD.shape[1]}

    def step(self, x_BD: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        y_BLD, after = self.prefill(x_BD.unsqueeze(1), state)
        if self.spoiled == "step" and after["read"] == 7:
            return y_BLD[:, 0] + 1, after
        return y_BLD[:, 0], after

    def flops(self, L: int) -> int:
        return 2 * L

    def state_bytes(self, L: int) -> int:
        return len(self.weight) * (8 if self.spoiled == "state" else 4)


class Silent(torch.nn.Module):
    """A mixer without steps."""

    reads = "one way"

    def __init__(self, d_model: int, width: int, *, direction: str = "forward") -> None:
        super().__init__()
        self.up, self.down = torch.nn.Linear(d_model, width), torch.nn.Linear(width, d_model)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.down(self.up(x_BLD))


GOES_ON, AS_LARGE = "prefill and step go on as forward reads", "its state is as large as state_bytes(L) says"


@pytest.mark.parametrize(
    ("kind", "options", "failing"),
    [
        (Averages, {}, set()),
        (Averages, {"spoiled": "step"}, {GOES_ON}),
        (Averages, {"spoiled": "state"}, {AS_LARGE}),
        (Silent, {}, set()),
        *((mixer_class(name), {}, set()) for name in ("mamba", "mamba2", "mamba3", "attention", "mlp", "gru", "conv")),
        (mixer_class("mamba3"), {"rank": 3, "groups": 2}, set()),
        (Attention, {"rope": True}, set()),
    ],
)
def test_check_plugin_names_a_wrong_step(kind: type, options: dict[str, Any], failing: set[str]) -> None:
    found = {check.name: check for check in check_mixer(kind, options)}
    assert {name for name in (GOES_ON, AS_LARGE) if not found[name].passed} == failing
    if options.get("spoiled") == "step":
        assert "token 6 differs" in found[GOES_ON].detail
    if kind is Silent:
        assert "cannot decode token by token" in found[GOES_ON].detail
