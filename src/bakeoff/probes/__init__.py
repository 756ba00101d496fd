"""Probes: they measure finished candidates in turn, while nothing else of the run is running."""
