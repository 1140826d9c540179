"""What things cost: a sweep's arithmetic (total.py), time and money on chips that are not here (cost.py, topology.py, clock.py, price.py),
and speed that is measured on those that are (bench.py, compare.py)."""
