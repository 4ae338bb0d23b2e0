"""The power of the gate: known defects, one at a time, that must not pass, and what each check is worth."""
