"""The states of a site."""

from __future__ import annotations

import enum


class State(enum.Enum):
    COLD = "cold"
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    FAILED = "failed"
    DISABLED = "disabled"
    PAUSED = "paused"
