"""The composite action: what a job on GitHub does before and after the gate (`python -m tinyworlds_gate.github`)."""
