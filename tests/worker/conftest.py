"""Fixtures of the worker's tests."""

from tests.worker.process import start_process
from tests.worker.running import serve

__all__ = ["serve", "start_process"]
