"""The closed loop as tests: `pytest validation/ -m smoke` runs it, one file a group of requirements, in loop order."""
