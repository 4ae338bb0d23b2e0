"""Verdicts on the requirements: pure functions from a run's journal events to findings."""
