"""Certificates for HTTPS: reading them, choosing one for each name, making one for localhost."""
