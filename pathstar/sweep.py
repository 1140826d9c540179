"""What config files import: the algebra of grids (`pathstar.grid`)."""

from pathstar.grid import Cell, chain, product, subsample, zipped

__all__ = ["Cell", "chain", "product", "subsample", "zipped"]
