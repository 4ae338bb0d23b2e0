"""Real TinyWorlds checkouts driven by the loop: docs/results/checkouts.json and the page checkouts.md."""
