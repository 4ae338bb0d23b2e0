"""Store a finished run's evidence as small files that can be committed, with an entry in a table (docs/results.md)."""
