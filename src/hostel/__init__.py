"""Hostel hosts Python web applications, many on one machine."""

__version__ = "0.1.0"
