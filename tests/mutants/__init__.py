"""Mutation run: change one expression of a module at a time and check that a test fails (docs/testing.md)."""
