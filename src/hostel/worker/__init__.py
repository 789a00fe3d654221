"""A worker: the process that runs one site's code. Standard library only, Python 3.9 (ASGI workers add uvicorn)."""
