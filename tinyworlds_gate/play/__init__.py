"""A person drives a world model with the keyboard: `tinyworlds-gate play` (docs/play.md)."""
