"""What a run's journal says about each requirement: pure functions from events to findings."""
