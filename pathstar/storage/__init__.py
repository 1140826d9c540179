"""Folders of runs and sweeps, local or on a bucket: their files, who holds them, and what a result depends on besides its config."""
