"""The inference gate: raw measures in, a verdict with its reasons out; no torch, no processes."""
