"""A model's calls as CUDA graphs: the host launches a whole call at once, not kernel after kernel.

The first call of a shape runs normally, because a shape that comes once is not worth a capture. The second call is
captured, and replayed from then on. A model that cannot be captured, or that waits for the device, is called normally,
and the reason is logged once.

A graph holds the addresses of the weights, so weights may change in place; if they have moved, the call is captured
again. A replay runs no Python: it calls no hooks of the model, and does not change attributes that are not tensors.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

Replay = Callable[[], object]
Capture = Callable[[Callable[[], Tensor], torch.device], tuple[Tensor, Replay]]
Inputs = tuple[Tensor | None, ...]

MOST = 4  # graphs per model; each holds the memory of its call
logger = logging.getLogger(__name__)


class Uncapturable(RuntimeError):
    """This call cannot be a graph; found before a capture began."""


def cuda_graph(call: Callable[[], Tensor], device: torch.device) -> tuple[Tensor, Replay]:
    """Captures a call; gives the result of `call`, which every replay overwrites, and the replay.

    First, `call` runs on the stream of the capture: kernels are compiled and chosen there, and a wait for the device
    raises there. A capture that fails leaves torch before 2.12 unable to empty its cache (pytorch/pytorch#180395).

    Raises:
        Uncapturable: the run before the capture failed.
        RuntimeError: the capture failed.
    """
    # the inner context restores the stream; a failed capture does not
    with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream(device)):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            with torch.cuda.stream(stream):
                call()
        except RuntimeError as error:
            raise Uncapturable(str(error)) from error
        finally:
            torch.cuda.set_sync_debug_mode(before)
            torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            kept = call()
    return kept, graph.replay


def from_main_thread(device: torch.device) -> bool:
    """Whether to capture: only on CUDA, and from one thread, because all callers share a graph's buffers."""
    return device.type == "cuda" and threading.current_thread() is threading.main_thread()


@dataclass
class _Graph:
    """One captured call, and the buffers that it reads and writes."""

    inputs: Inputs
    kept: Tensor
    replay: Replay

    def __call__(self, inputs: Inputs) -> Tensor:
        for mine, given in zip(self.inputs, inputs, strict=True):
            if mine is not None and given is not None:
                mine.copy_(given)
        self.replay()
        return self.kept.clone()


class Captured:
    """A model whose calls are captured when they come a second time with the same shapes. For sampling only.

    Attributes:
        why_not: why calls are not captured; empty if no obstacle is known.
    """

    broken: ClassVar[str] = ""  # a capture failed, and another capture in this process is not reliable

    def __init__(
        self,
        model: nn.Module,
        capture: Capture = cuda_graph,
        serves: Callable[[torch.device], bool] = from_main_thread,
    ) -> None:
        self.model, self._capture, self._serves = model, capture, serves
        self._graphs: OrderedDict[Hashable, _Graph | None] = OrderedDict()
        self._obstacle = ""

    @property
    def why_not(self) -> str:
        return Captured.broken or self._obstacle

    @torch.no_grad()
    def __call__(self, *inputs: Tensor | None) -> Tensor:
        """model(*inputs), by a graph if there is one."""
        x = inputs[0]
        if self.why_not or x is None or not self._serves(x.device):
            return self.model(*inputs)
        kinds = tuple(None if one is None else (one.shape, one.dtype, one.device) for one in inputs)
        key = (kinds, self.model.training, _addresses(self.model))
        if key not in self._graphs:
            result = self.model(*inputs)
            self._graphs[key] = None
            if len(self._graphs) > MOST:
                self._graphs.popitem(last=False)
            return result
        self._graphs.move_to_end(key)
        if self._graphs[key] is None:
            self._graphs[key] = self._graph(inputs)
        graph = self._graphs[key]
        return self.model(*inputs) if graph is None else graph(inputs)

    def _graph(self, inputs: Inputs) -> _Graph | None:
        buffers = tuple(None if one is None else one.clone() for one in inputs)
        assert buffers[0] is not None
        try:
            kept, replay = self._capture(lambda: self.model(*buffers), buffers[0].device)
        except RuntimeError as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            why = f"sampled kernel by kernel, not as a CUDA graph: {reason}"
            if isinstance(error, Uncapturable):
                self._obstacle = why
            else:
                Captured.broken = why
            logger.warning(why)
            return None
        return _Graph(buffers, kept, replay)


def _addresses(model: nn.Module) -> Hashable:
    """The addresses and layouts of the weights and buffers."""
    return tuple((x.data_ptr(), x.dtype) for both in (model.parameters(), model.buffers()) for x in both)
