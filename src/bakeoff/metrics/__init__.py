"""Metrics: figures that assess sets of items."""
