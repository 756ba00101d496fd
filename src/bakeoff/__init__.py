"""bakeoff: choose a sequence backbone before you spend the GPUs."""

__version__ = "0.1.0"
