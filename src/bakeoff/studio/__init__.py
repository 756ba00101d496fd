"""The studio: a local page to step the flow in, to judge samples blind, and to watch a run."""

from bakeoff.studio.serve import serve

__all__ = ["serve"]
