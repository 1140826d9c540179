"""Training: data, the compiled program of a pack, optimiser, checkpoints, and what is written while it runs. Begin with train.py."""
