"""One training step under equal opportunity, once for each library that `benchmarks/step.py` times.

A module ``<library>_step`` has ``make_contender(task)``; it is imported only where its library is installed.
"""
