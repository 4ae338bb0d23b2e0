"""The fault matrix: what happens to a long run, and what the loop, its report and its files show afterwards."""
