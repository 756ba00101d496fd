"""Codecs between items and tokens."""
