"""Crash points: inject a fault at every write, fsync and rename of the product (python -m tests.crash_points)."""
