"""A finished run's evidence as small files that can be committed, and one entry in a table (docs/results.md)."""
