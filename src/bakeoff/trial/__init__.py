"""The engine: plans a bake-off, runs its trials one process each, and keeps the run directory."""
