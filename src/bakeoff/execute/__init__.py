"""Runs a plan: decides what to do and in which order, and estimates time, memory and room."""
