"""What things cost: a sweep's arithmetic (total.py), time and money on chips that are not here (cost.py, topology.py, price.py; of
what was compiled for them instructions.py, clock.py, traffic.py), and speed that is measured on those that are (bench.py, compare.py)."""
