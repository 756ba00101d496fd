"""The run directory, the only record of a bake-off; its seal, its ledger and its repair."""
