"""Codecs between items and tokens, one in each file."""
