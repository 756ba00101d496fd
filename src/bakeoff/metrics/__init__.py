"""Metrics: named figures of sets of items."""
