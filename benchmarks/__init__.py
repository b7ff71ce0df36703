"""Side-by-side measurements: `python -m benchmarks.NAME` prints a ratio to a named peer from one run,
threads stated."""
