"""Tests of `tinyworlds_gate.budget`."""
