"""An example client of the hub: one file that can be copied away, and imports nothing of app."""
