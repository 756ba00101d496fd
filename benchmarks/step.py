"""Speed of the native steps: one token of every item through the mixers, on the CPU.

    python -m benchmarks.step [--json FILE] [--rounds 7]

Ratios are of medians within this one run, on one thread, CPU time, rivals interleaved. The peers, transformers'
MambaMixer and Mamba2Mixer with a cache, come with `pip install "bakeoff[bench]"`; without them their rows say so.
Outputs are compared with the rival's before anything is timed.

Shapes: B batch, L tokens, D = d_model.
"""

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bakeoff.execute.spent import SIDE, product_gflops
from bakeoff.models.mixers import Attention, Gru, Mamba, Mamba2, Mamba3, Mlp
from bakeoff.trial.meters import processor_name
from benchmarks.row import Row
from benchmarks.table import print_table
from benchmarks.timing import medians_ms

BATCHES = (1, 16, 128)
D = 256
LAYERS = 4
READ = 16  # tokens before the steps
CLOSE = 1e-4
BURST_MS = 20.0
MIXERS: dict[str, tuple[Callable[[], nn.Module], int]] = {  # and the tokens read before
    "Mamba": (lambda: Mamba(D, 2 * D), READ),
    "Mamba-2": (lambda: Mamba2(D, 2 * D, heads=8), READ),
    "Mamba-3": (lambda: Mamba3(D, 2 * D, heads=8), READ),
    "Mamba-3 of 4 ranks": (lambda: Mamba3(D, 2 * D, heads=8, rank=4), READ),
    "attention behind 1024 tokens": (lambda: Attention(D, D, causal=True, rope=True), 1024),
    "attention, 4 queries a key, in a window of 256": (
        lambda: Attention(D, D, kv_heads=1, causal=True, rope=True, qk_norm=True, window=256),
        1024,
    ),
    "MLP": (lambda: Mlp(D, 4 * D), READ),
    "MLP, SwiGLU": (lambda: Mlp(D, 4 * D, gate="swiglu"), READ),
    "GRU": (lambda: Gru(D, D), READ),
}


class Stack:
    """Layers with a residual around each, reading on from a prefill; on one back end."""

    def __init__(self, mixers: Sequence[Any], x_BLD: Tensor, backend: str) -> None:
        self.mixers, self.backend, self.states = mixers, backend, []
        os.environ["BAKEOFF_BACKEND"] = "auto"
        for mixer in mixers:
            y_BLD, state = mixer.prefill(x_BLD, mixer.start(len(x_BLD)))
            self.states.append(state)
            x_BLD = x_BLD + y_BLD

    def step(self, x_BD: Tensor) -> Tensor:
        os.environ["BAKEOFF_BACKEND"] = self.backend
        for i, mixer in enumerate(self.mixers):
            y_BD, self.states[i] = mixer.step(x_BD, self.states[i])
            x_BD = x_BD + y_BD
        return x_BD


class Peers:
    """The same of transformers' mixers, whose states are in a cache."""

    def __init__(self, mixers: Sequence[Any], x_BLD: Tensor, cache: Any) -> None:
        self.mixers, self.cache = mixers, cache
        self._through(x_BLD)

    def _through(self, x_BLD: Tensor) -> Tensor:
        for mixer in self.mixers:
            x_BLD = x_BLD + mixer(x_BLD, cache=self.cache)
        return x_BLD

    def step(self, x_BD: Tensor) -> Tensor:
        return self._through(x_BD.unsqueeze(1)).squeeze(1)


class Model:
    """A whole MambaForCausalLM, token by token: torch's own norms and the native steps, on its parameters."""

    def __init__(self, peer: Any, mixers: Sequence[Any], ids_BL: Tensor) -> None:
        self.peer, self.mixers = peer, mixers
        self.states = [mixer.start(len(ids_BL)) for mixer in mixers]
        for ids_B in ids_BL.unbind(1):
            self.step(ids_B)

    def step(self, ids_B: Tensor) -> Tensor:
        os.environ["BAKEOFF_BACKEND"] = "native"
        whole = self.peer.backbone
        h_BD = whole.embeddings(ids_B)
        for i, (mixer, block) in enumerate(zip(self.mixers, whole.layers, strict=True)):
            y_BD, self.states[i] = mixer.step(_normed(h_BD, block.norm), self.states[i])
            h_BD = h_BD + y_BD
        return self.peer.lm_head(_normed(h_BD, whole.norm_f))


def _normed(x: Tensor, norm: Any) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], norm.weight, norm.variance_epsilon)


class PeerModel:
    def __init__(self, peer: Any, ids_BL: Tensor) -> None:
        self.peer, self.cache = peer, peer(ids_BL, use_cache=True).cache

    def step(self, ids_B: Tensor) -> Tensor:
        return self.peer(ids_B[:, None], cache=self.cache, use_cache=True).logits[:, 0]


class Rival(Protocol):
    def step(self, x: Tensor, /) -> Tensor: ...


def compared_ms(rivals: Mapping[str, Rival], x: Tensor, rounds: int) -> dict[str, float]:
    """Median milliseconds of a step of each. Raises SystemExit if their first steps differ.

    In a round each decodes for about as long as the others, so that all begin equally often with cold caches.
    """
    found = [rival.step(x) for rival in rivals.values()]
    for name, y_BD in zip(rivals, found, strict=True):
        error = ((y_BD - found[0]).norm() / found[0].norm()).item()
        if not error <= CLOSE:
            raise SystemExit(
                f"{name} and {next(iter(rivals))} differ by {error:.1e} in their outputs; nothing is timed"
            )
    one = medians_ms({name: lambda rival=rival: rival.step(x) for name, rival in rivals.items()}, 3)
    steps = {name: max(1, round(BURST_MS / ms)) for name, ms in one.items()}

    def work(rival: Rival, count: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(count):
                rival.step(x)

        return run

    ms = medians_ms({name: work(rival, steps[name]) for name, rival in rivals.items()}, rounds)
    return {name: value / steps[name] for name, value in ms.items()}


def tokens(B: int, L: int, width: int = D) -> Tensor:
    return torch.randn(B, L, width, generator=torch.Generator().manual_seed(L))


def machine(_: int) -> Iterator[Row]:
    yield Row(f"a {SIDE}^3 float32 product", product_gflops(), "GFLOP/s", detail=processor_name())


@torch.no_grad()
def against_transformers(rounds: int) -> Iterator[Row]:
    name, bar = "{} layers, times faster than transformers' cached step, batch {}", ">= 10"
    try:
        from transformers import DynamicCache, Mamba2Config, MambaConfig  # pyright: ignore[reportMissingImports]
        from transformers.models.mamba import modeling_mamba  # pyright: ignore[reportMissingImports]
        from transformers.models.mamba2 import modeling_mamba2  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        yield Row(
            name.format("Mamba", 1), None, "x", bar, None, f'not installed ({error}): pip install "bakeoff[bench]"'
        )
        return
    sizes: dict[str, Any] = {"hidden_size": D, "num_hidden_layers": LAYERS, "use_bias": False}
    first = MambaConfig(**sizes, state_size=16, expand=2, conv_kernel=4)
    second = Mamba2Config(**sizes, state_size=64, expand=2, conv_kernel=4, num_heads=8, head_dim=64, n_groups=1)
    kinds = {
        "Mamba": (lambda: Mamba(D, 2 * D), modeling_mamba.MambaMixer, first),
        "Mamba-2": (lambda: Mamba2(D, 2 * D, heads=8), modeling_mamba2.Mamba2Mixer, second),
    }
    for kind, (build, theirs, config) in kinds.items():
        peers = [theirs(config, layer_idx=i).eval() for i in range(LAYERS)]
        ours = [build().eval() for _ in peers]
        for own, peer in zip(ours, peers, strict=True):
            weights = peer.state_dict()
            own.load_state_dict(Mamba.renamed(weights) if isinstance(own, Mamba) else weights)
        count = sum(p.numel() for own in ours for p in own.parameters())
        for B in BATCHES:
            x_BLD = tokens(B, READ)
            rivals = {"ours": Stack(ours, x_BLD, "native"), "peer": Peers(peers, x_BLD, DynamicCache(config=config))}
            ms = compared_ms(rivals, tokens(B, 1)[:, 0], 3 * rounds)
            ratio = ms["peer"] / ms["ours"]
            detail = f"{ms['ours']:.3f} ms a step against {ms['peer']:.2f} ms; {LAYERS} layers, {count / 1e6:.2f} M"
            bar_of = (bar, ratio >= 10) if (kind, B) == ("Mamba", 1) else ("", None)
            yield Row(name.format(kind, B), ratio, "x", *bar_of, detail)
    peer: Any = modeling_mamba.MambaForCausalLM(MambaConfig(**sizes, vocab_size=256)).eval()
    ours = [Mamba(D, 2 * D).eval() for _ in range(LAYERS)]
    for own, block in zip(ours, peer.backbone.layers, strict=True):
        own.load_state_dict(Mamba.renamed(block.mixer.state_dict()))
    for B in BATCHES:
        ids_BL = torch.randint(256, (B, READ + 1), generator=torch.Generator().manual_seed(0))
        models = {"ours": Model(peer, ours, ids_BL[:, :READ]), "peer": PeerModel(peer, ids_BL[:, :READ])}
        ms = compared_ms(models, ids_BL[:, READ], 3 * rounds)
        detail = (
            f"{ms['ours']:.3f} ms a step against {ms['peer']:.2f} ms; embedding, norms and head are torch's in both"
        )
        yield Row(f"whole MambaForCausalLM, the same, batch {B}", ms["peer"] / ms["ours"], "x", detail=detail)


@torch.no_grad()
def against_plain_torch(rounds: int) -> Iterator[Row]:
    for name, (build, read) in MIXERS.items():
        mixer = build().eval()
        for B in BATCHES:
            x_BLD = tokens(B, read)
            rivals = {backend: Stack([mixer], x_BLD, backend) for backend in ("native", "reference")}
            ms = compared_ms(rivals, tokens(B, 1)[:, 0], rounds)
            detail = f"{1e3 * ms['native']:.0f} us a step against {1e3 * ms['reference']:.0f} us, D {D}"
            ratio = ms["reference"] / ms["native"]
            yield Row(f"{name}: step, times faster than its plain step, batch {B}", ratio, "x", detail=detail)


@torch.no_grad()
def beyond_the_cache(rounds: int) -> Iterator[Row]:
    """Bytes of parameters and states a second, against the fastest of three ways in which torch reads memory."""
    width = 1024
    stacks = {"Mamba": [Mamba(width, 2 * width) for _ in range(5)], "MLP": [Mlp(width, 4 * width) for _ in range(4)]}
    large = torch.ones(2**26)
    readers = {
        "sum": lambda: large.sum(),
        "dot": lambda: torch.dot(large, large),
        "matrix-vector product": lambda: torch.mv(large.view(2**14, -1), large[: 2**12]),
    }
    for name, mixers in stacks.items():
        stack = Stack([mixer.eval() for mixer in mixers], tokens(1, READ, width), "native")
        check = Stack(mixers, tokens(1, READ, width), "reference")
        x_BD = tokens(1, 1, width)[:, 0]
        compared_ms({"native": copy.deepcopy(stack), "plain": check}, x_BD, 1)
        ms = medians_ms({"ours": lambda stack=stack, x=x_BD: stack.step(x), **readers}, 5 * rounds)
        weights = sum(p.nbytes for mixer in mixers for p in mixer.parameters())
        states = sum(2 * mixer.state_bytes(1) for mixer in mixers)
        reader = min(readers, key=ms.__getitem__)
        ours, most = (weights + states) / ms["ours"] / 1e6, large.nbytes / ms[reader] / 1e6
        detail = f"{ours:.1f} of {most:.1f} GB/s (by {reader}); {weights / 1e6:.0f} MB of weights, {ms['ours']:.2f} ms"
        share = ours / most
        yield Row(f"{name}: share of the memory's bandwidth, batch 1", share, "x", ">= 0.6", share >= 0.6, detail)


SECTIONS = (machine, against_transformers, beyond_the_cache, against_plain_torch)

if __name__ == "__main__":
    print_table(__doc__ or "", SECTIONS)
