"""Recall so small that a trial trains in a second, as changes to `recall-smoke`."""

SETS = {
    "task.length": 16,
    "task.pairs": [2],
    "task.vocabulary": 16,
    "model.d_model": 16,
    "budget.params": 2_400,
    "budget.tolerance": 1.6,
    "training.batch": 16,
    "training.steps": 12,
    "training.warmup": 2,
    "bar.samples": 40,
    "sampling.count": 12,
}
