"""Fixtures of the zygote's tests."""

from tests.zygote.process import start_zygote, zygote

__all__ = ["start_zygote", "zygote"]
