"""Watch a run from another terminal (M1–M4): follow its journal and the files that it names."""
