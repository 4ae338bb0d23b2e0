"""Broken and hostile checkpoints and HDF5 files, and what the readers do with each."""
