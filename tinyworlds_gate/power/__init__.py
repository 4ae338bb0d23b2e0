"""Power of the gate: known defects, tested one at a time, must not pass; each check must be necessary."""
