"""The whole solve as one CUDA graph: the host launches it once, and not kernel after kernel of every step.

A shape's first solve runs as ever. When the shape comes again it is captured, and replayed from then on; what came once
is not worth a capture. A field that cannot be captured, or that waits for the device, is solved as ever, and why is
logged once.

A graph holds the addresses of the weights, so weights may change in place; a model whose weights have moved is captured
anew. A replay runs no Python: hooks of the model are not called, and attributes that are no tensors stay as they were.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from bakeoff.objectives.solver import Trajectory

Work = Callable[[Tensor, Tensor | None], Trajectory]  # noise_BLC, labels_B
Replay = Callable[[], object]
Capture = Callable[[Callable[[], Trajectory], torch.device], tuple[Trajectory, Replay]]

MOST = 4  # graphs a model; each holds the memory that its solve takes
logger = logging.getLogger(__name__)


class Uncapturable(RuntimeError):
    """Found before a capture began: this work is none for a graph."""


def cuda_graph(work: Callable[[], Trajectory], device: torch.device) -> tuple[Trajectory, Replay]:
    """What `work` returns, whose tensors every replay writes anew, and the replay.

    Before, `work` runs on the stream of the capture, where kernels are compiled and chosen, and where a wait for the
    device raises: a capture that fails leaves torch before 2.12 unable to empty its cache (pytorch/pytorch#180395).

    Raises:
        Uncapturable: the run before failed.
        RuntimeError: the capture failed.
    """
    # the inner context restores the stream, which a capture that fails does not
    with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream(device)):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            with torch.cuda.stream(stream):
                work()
        except RuntimeError as error:
            raise Uncapturable(str(error)) from error
        finally:
            torch.cuda.set_sync_debug_mode(before)
            torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            kept = work()
    return kept, graph.replay


def from_main_thread(device: torch.device) -> bool:
    """Whether to capture: on CUDA, and from one thread only, for a graph's buffers are the same for all callers."""
    return device.type == "cuda" and threading.current_thread() is threading.main_thread()


@dataclass
class _Graph:
    """One captured solve and the buffers that it reads and writes."""

    noise_BLC: Tensor
    labels_B: Tensor | None
    kept: Trajectory
    replay: Replay

    def __call__(self, noise_BLC: Tensor, labels_B: Tensor | None) -> Trajectory:
        self.noise_BLC.copy_(noise_BLC)
        if self.labels_B is not None and labels_B is not None:
            self.labels_B.copy_(labels_B)
        self.replay()
        path = None if self.kept.path is None else [x.clone() for x in self.kept.path]
        return Trajectory(self.kept.x.clone(), self.kept.nfe, path)


class CapturedSolves:
    """Solves of models, each captured when it comes a second time with the same shapes and settings."""

    def __init__(
        self, capture: Capture = cuda_graph, serves: Callable[[torch.device], bool] = from_main_thread
    ) -> None:
        self._capture, self._serves = capture, serves
        self._graphs: WeakKeyDictionary[nn.Module, OrderedDict[Hashable, _Graph | None]] = WeakKeyDictionary()
        self._obstacles: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
        self._broken = ""  # a capture failed, and torch cannot be relied on for another

    def why_not(self, model: nn.Module) -> str:
        """Why this model is not captured; empty if nothing is known to be in the way."""
        return self._broken or self._obstacles.get(model, "")

    @torch.no_grad()
    def __call__(
        self, model: nn.Module, settings: Hashable, work: Work, noise_BLC: Tensor, labels_B: Tensor | None
    ) -> Trajectory:
        """work(noise_BLC, labels_B), by a graph where there is one.

        Args:
            model: what `work` evaluates; its graphs live no longer than it does.
            settings: all else that decides what `work` launches, besides the shapes of its inputs.
        """
        if self.why_not(model) or not self._serves(noise_BLC.device):
            return work(noise_BLC, labels_B)
        graphs = self._graphs.setdefault(model, OrderedDict())
        key = (settings, _kind(noise_BLC), labels_B is not None and _kind(labels_B), model.training, _weights(model))
        if key not in graphs:
            result = work(noise_BLC, labels_B)
            graphs[key] = None
            if len(graphs) > MOST:
                graphs.popitem(last=False)
            return result
        graphs.move_to_end(key)
        if graphs[key] is None:
            graphs[key] = self._graph(model, work, noise_BLC, labels_B)
        graph = graphs[key]
        return work(noise_BLC, labels_B) if graph is None else graph(noise_BLC, labels_B)

    def _graph(self, model: nn.Module, work: Work, noise_BLC: Tensor, labels_B: Tensor | None) -> _Graph | None:
        noise_BLC, labels_B = noise_BLC.clone(), None if labels_B is None else labels_B.clone()
        try:
            kept, replay = self._capture(lambda: work(noise_BLC, labels_B), noise_BLC.device)
        except RuntimeError as error:
            why = (
                f"sampled kernel by kernel, not as a CUDA graph: {(str(error) or type(error).__name__).splitlines()[0]}"
            )
            if isinstance(error, Uncapturable):
                self._obstacles[model] = why
            else:
                self._broken = why
            logger.warning(why)
            return None
        return _Graph(noise_BLC, labels_B, kept, replay)


def _kind(x: Tensor) -> Hashable:
    return x.shape, x.dtype, x.device


def _weights(model: nn.Module) -> Hashable:
    """Where the weights and buffers lie, and as what."""
    return tuple((x.data_ptr(), x.dtype) for both in (model.parameters(), model.buffers()) for x in both)
