"""Where sites come from."""
