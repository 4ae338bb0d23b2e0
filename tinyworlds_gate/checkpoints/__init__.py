"""Checkpoints: layout, atomic writing, safe reading, integrity, resolution within one run, sizes, pruning."""
