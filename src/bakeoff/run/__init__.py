"""The run directory: the single truth of a bake-off, its seal, ledger and repair."""
