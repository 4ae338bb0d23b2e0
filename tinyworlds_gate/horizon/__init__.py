"""Long rollouts: how many steps a model stays better than no model, how it drifts, and whether it walks back."""
