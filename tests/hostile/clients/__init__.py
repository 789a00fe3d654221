"""Hostile clients: what comes to the front as raw bytes, and what an application sees of it."""
