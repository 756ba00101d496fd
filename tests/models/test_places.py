"""Places on a grid: rotary positions by axis, and the cross-scan, whose order is checked against a token's own path."""

import pytest
import torch
from rotation import rotated
from torch import Tensor, nn

from bakeoff.errors import BakeoffError
from bakeoff.models.backbones import build_mixers
from bakeoff.models.mixers import Attention, Mamba
from bakeoff.models.mixers.rope import places
from bakeoff.models.order import ContextFirst, CrossScan

GRIDS = [(3, 5), (1, 4), (2, 3, 4)]
CPU = torch.device("cpu")


def test_places_are_raster_coordinates_behind_the_context() -> None:
    assert places(0, 8, (2, 3), 2, CPU).tolist() == [[0, 0], [0, 0], [0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert places(3, 2, (2, 3), 2, CPU).tolist() == [[0, 1], [0, 2]]
    assert places(3, 2, (), 0, CPU).tolist() == [[3], [4]]
    assert places(22, 2, (2, 3, 4), 0, CPU).tolist() == [[1, 2, 2], [1, 2, 3]]


@pytest.mark.parametrize(("grid", "channels"), [((3, 5), 8), ((3, 5), 12), ((2, 3, 4), 12), ((2, 3, 4), 16)])
def test_scores_depend_on_distances_along_each_axis(grid: tuple[int, ...], channels: int) -> None:
    """q_a . k_b after rotation follows from a - b on every axis alone, and differs where one axis differs."""
    g = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, channels, dtype=torch.float64, generator=g)

    def score(a: list[int], b: list[int]) -> float:
        return float((rotated(q, torch.tensor([a])) * rotated(k, torch.tensor([b]))).sum())

    zero = [0] * len(grid)
    for axis in range(len(grid)):
        moved = [int(i == axis) for i in range(len(grid))]
        shifted = [2 + 3 * i for i in range(len(grid))]
        both = [s + m for s, m in zip(shifted, moved, strict=True)]
        assert score(moved, zero) == pytest.approx(score(both, shifted), abs=1e-6)
        assert abs(score(moved, zero) - score(zero, zero)) > 1e-3
    assert rotated(q, torch.tensor([shifted])).norm() == pytest.approx(float(q.norm()), rel=1e-6)


def test_each_axis_has_its_own_pairs() -> None:
    """P = 8, two axes: pairs 0 and 1 turn with the row, by 1 and 1/100 radian, pairs 2 and 3 with the column."""
    x = torch.eye(8, dtype=torch.float64)
    turned = rotated(x.unsqueeze(1), torch.tensor([[1, 0]])).squeeze(1)
    expected = [torch.tensor(angle).cos().item() for angle in (1.0, 0.01, 0.0, 0.0)]
    assert turned.diagonal().tolist() == pytest.approx(2 * expected, abs=1e-6)
    column = rotated(x.unsqueeze(1), torch.tensor([[0, 1]])).squeeze(1)
    assert column.diagonal().tolist() == pytest.approx(2 * [*expected[2:], *expected[:2]], abs=1e-6)


def test_a_row_is_a_grid_of_one_axis() -> None:
    row, grid = Attention(16, 16, rope=True), Attention(16, 16, rope=True, grid=(9,))
    grid.load_state_dict(row.state_dict())
    x = torch.randn(2, 9, 16)
    assert torch.equal(row(x), grid(x))


def test_attention_on_a_grid_goes_on_token_by_token() -> None:
    torch.manual_seed(0)
    mixer = Attention(24, 24, heads=2, rope=True, causal=True, grid=(2, 5), context=3).double()
    x = torch.randn(2, 13, 24, dtype=torch.float64)
    first, state = mixer.prefill(x[:, :4], mixer.start(2))
    second, _ = mixer.prefill(x[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), mixer(x))


def test_too_few_channels_for_the_axes_are_refused() -> None:
    with pytest.raises(BakeoffError, match="at least 6"):
        Attention(16, 16, heads=4, rope=True, grid=(2, 3, 4))


class Path(nn.Module):
    """A reader that tells every token how many it has read, both ways kept apart."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x_BTD: Tensor) -> Tensor:
        self.seen.append(x_BTD[0, :, 0])
        return x_BTD

    def flops(self, L: int) -> int:
        return 7

    def state_bytes(self, L: int) -> int:
        return 5


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("context", [0, 2])
def test_each_axis_is_once_the_fastest(grid: tuple[int, ...], context: int) -> None:
    """Along the scan of an axis neighbours differ by 1 on that axis, except where a line ends."""
    mixer = Path()
    scan = CrossScan(mixer, grid, context, 1)
    count = context + torch.Size(grid).numel()
    x = torch.arange(count, dtype=torch.float32).reshape(1, count, 1)
    assert torch.equal(scan(x), len(grid) * x)  # every token comes back to its place, once an axis
    assert scan.flops(count) == 7 * len(grid) and scan.state_bytes(count) == 5 * len(grid)
    fastest = set()
    for read in mixer.seen:
        assert read[:context].tolist() == list(range(context))
        coordinates = torch.stack(torch.unravel_index(read[context:].long() - context, grid), 1)
        assert sorted(read.tolist()) == x.flatten().tolist()
        steps = coordinates.diff(dim=0)
        axis = int((steps == 1).sum(0).argmax())
        lines = steps[steps[:, axis] == 1]
        assert len(lines) == count - context - (count - context) // grid[axis]
        assert (lines.sum(1) == 1).all() and (lines[:, axis] == 1).all()
        fastest.add(axis)
    assert len(fastest) == len([one for one in grid if one > 1])


@pytest.mark.parametrize("context", [0, 3])
def test_a_cross_scan_of_a_plane_is_four_scans(context: int) -> None:
    """Against Mamba read by hand: rows, rows backward, columns, columns backward, with the same weights."""
    torch.manual_seed(0)
    H, W, D = 3, 4, 16
    (cross,) = build_mixers(
        ("mamba",), D, {"mamba": 24}, {"mamba": {"d_state": 4}}, "cross", context=context, grid=(H, W)
    )
    one = Mamba(D, 24, d_state=4)
    assert isinstance(cross, CrossScan) and isinstance(cross.mixer, ContextFirst if context else Mamba)
    one.load_state_dict({name.removeprefix("mixer."): p for name, p in cross.mixer.state_dict().items()})
    x = torch.randn(2, context + H * W, D)
    before, inside = x[:, :context], x[:, context:].unflatten(1, (H, W))

    def scanned(order: Tensor) -> Tensor:
        return one(torch.cat([before, order.flatten(1, 2)], 1))[:, context:]

    rows, columns = scanned(inside), scanned(inside.transpose(1, 2)).unflatten(1, (W, H)).transpose(1, 2).flatten(1, 2)
    backward = scanned(inside.flip(1, 2)).flip(1)
    upward = scanned(inside.transpose(1, 2).flip(1, 2)).flip(1).unflatten(1, (W, H)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(cross(x)[:, context:], rows + columns + backward + upward, atol=1e-5, rtol=1e-4)


def test_a_cross_scan_needs_a_grid() -> None:
    with pytest.raises(BakeoffError, match="lie in a row"):
        build_mixers(("mamba",), 16, {"mamba": 32}, {}, "cross")


def test_a_causal_objective_reads_forward_whatever_the_order() -> None:
    (mixer,) = build_mixers(("mamba",), 16, {"mamba": 32}, {}, "cross", causal=True, grid=(2, 2))
    assert isinstance(mixer, Mamba) and mixer.directions == (False,)
