"""Probes: measurements over finished candidates, in turn, alone on the machine."""
