"""Tests of the composite action and its steps."""
