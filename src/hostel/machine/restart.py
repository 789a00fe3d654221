"""How long to wait after a failure before the next attempt. Pure."""

from __future__ import annotations

from dataclasses import dataclass

INTENSITY = 5  # so many deaths of serving workers ...
PERIOD = 10.0  # ... within so many seconds make a site failed
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
HOST_PAUSE = 2.0  # when it is the machine that says no


@dataclass(frozen=True, slots=True)
class History:
    """What has gone wrong lately: failed starts in a row, and when serving workers died."""

    failed_starts: int = 0
    deaths: tuple[float, ...] = ()

    def with_failed_start(self, now: float) -> History:
        return History(self.failed_starts + 1, self._recent(now))

    def with_death(self, now: float) -> History:
        return History(self.failed_starts, (*self._recent(now), now))

    def _recent(self, now: float) -> tuple[float, ...]:
        return tuple(time for time in self.deaths if now - time < PERIOD)

    def with_success(self) -> History:
        """A worker is ready: starts work again. Deaths are not forgiven by that, only by time."""
        return History(0, self.deaths)

    @property
    def is_too_much(self) -> bool:
        """Whether serving workers die so often that starting more is of no use for now."""
        return len(self.deaths) >= INTENSITY

    @property
    def pause(self) -> float:
        """Seconds until the next attempt: doubled with each failure, up to a minute."""
        attempts = max(1, self.failed_starts, len(self.deaths) - INTENSITY + 1)
        return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempts - 1, 10)))
