"""Artefacts: files of items, and the pictures made of them."""
