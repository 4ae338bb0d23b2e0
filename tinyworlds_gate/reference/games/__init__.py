"""The games that `tinyworlds-gate data make` plays; a module here imports its emulator, so only a process of its own
imports it."""
