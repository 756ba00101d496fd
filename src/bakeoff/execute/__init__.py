"""Runs a plan: what is to do, in which order, and what it will take."""
