"""Search under a fixed judge: a command trains within a time budget, and a process that it cannot reach judges it."""
