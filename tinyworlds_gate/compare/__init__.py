"""Compare two models on the same clips: BETTER, SAME, WORSE or NOT-COMPARABLE (docs/compare.md)."""
