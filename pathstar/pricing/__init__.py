"""What things cost: arithmetic (flops.py), time and money on chips that are not here (cost.py, topology.py, price.py), and speed that is
measured on those that are (bench.py, compare.py)."""
