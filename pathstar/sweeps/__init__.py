"""Sweeps: a config's cells as packs (packs.py), the folder that holds their plan (folder.py), running them (execute.py), how far they are
(status.py)."""
