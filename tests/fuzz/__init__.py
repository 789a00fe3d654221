"""Parsers of what tenants and clients write, and what must hold for each whatever the bytes are; see ``targets``."""
