"""The audit of published tables."""
