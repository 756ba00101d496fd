"""Parameter counts of the literature's blocks, in closed form: what a printed count is held against.

D = d_model, E = the block's width. Norms, embeddings, conditioning and the head are not counted.
"""

from math import ceil

from bakeoff.protocol.audit.published import Block, Row, Setup

COUNTED = ("mamba", "attention", "mlp")


def block_params(setup: Setup, row: Row) -> float | str:
    """Parameters of all blocks of a backbone, or, in words, what is missing to count them."""
    if not row.arrangement:
        return f"backbone.{row.name}.mixers is missing"
    if setup.d_model is None:
        return "setup.d_model is missing"
    total = 0.0
    for block in row.arrangement:
        count = _count(block, row, setup, setup.d_model)
        if isinstance(count, str):
            return count
        total += block.repeats * count
    return total


def mamba(D: int, E: float, N: int, K: int = 4) -> float:
    """Mamba-1 [Gu and Dao 2023, figure 3]: dt has rank R = ceil(D / 16); K taps, N states.

    in_proj 2DE, convolution E(K + 1), x_proj E(R + 2N), dt_proj RE + E, A EN, skip E, out_proj ED.
    """
    R = ceil(D / 16)
    return E * (2 * D + K + 1 + R + 2 * N + R + 1 + N + 1 + D)


def attention(D: int, E: float) -> float:
    """Queries, keys, values and output with biases [Vaswani et al. 2017]: 3(DE + E) + ED + D."""
    return 4 * D * E + 3 * E + D


def mlp(D: int, E: float) -> float:
    """Two linear maps with biases: DE + E + ED + D."""
    return 2 * D * E + E + D


def _count(block: Block, row: Row, setup: Setup, D: int) -> float | str:
    if block.mixer == "attention":
        return attention(D, block.width or D)
    if block.mixer == "mlp":
        return mlp(D, block.width or row.mlp_width or 4 * D)
    if block.mixer == "mamba":
        N = block.d_state or row.d_state or setup.d_state
        if N is None:
            return f"d_state is missing (setup, or backbone.{row.name})"
        return mamba(D, block.width or (row.expand or 2) * D, N, block.d_conv or row.d_conv or 4)
    return f"the parameters of a {block.mixer} block are not known; known are {', '.join(COUNTED)}"
