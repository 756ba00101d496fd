"""Codecs between items and tokens, one a file."""
