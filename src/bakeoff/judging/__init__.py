"""What people and the rule say of a run."""
