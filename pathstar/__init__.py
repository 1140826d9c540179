"""pathstar: the pitfalls of next-token prediction, replicated."""

__version__ = "0.1.0"
