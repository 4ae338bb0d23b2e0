"""Watching a run from another terminal (M1–M4): its journal and the files that it names, read as they grow."""
