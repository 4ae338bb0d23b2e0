"""Registers the plugin of the closed loop; nothing else lives here."""
