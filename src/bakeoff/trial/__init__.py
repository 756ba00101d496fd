"""The engine: plans a bake-off, and trains, judges and measures one trial in each process."""
