"""What the front and the workers speak: bytes in, request out; no sockets, no clock."""
