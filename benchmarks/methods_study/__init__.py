"""The parts of `benchmarks/methods.py`: hospitals, methods, one training, which runs there are, the report."""
