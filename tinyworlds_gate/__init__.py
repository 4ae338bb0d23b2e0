"""tinyworlds_gate: validation of TinyWorlds world models from training to inference."""

__version__ = "0.1.0"
