"""How long a request may have waited in the queue and still be run: pure, told the time, and the same for any protocol.

The hard part is to tell a burst from lasting overload, for a queue that is long looks the same in both. A burst passes, its
visitors wait for their page, and whoever waited less than the site's limit gets it. Under lasting overload the queue never
gets shorter: with the whole limit everybody would wait that long, and those who are patient for less would be served when
they have gone, which is how a server can be busy all the time and please nobody. So the bound tightens by itself (after the
idea of CoDel, RFC 8289: what counts is not how long the queue is, but for how long it has not been short):

- when each request has waited longer than a twentieth of the limit, for as long as the limit. A burst is over by then, or
  whoever is left of it has waited too long in any case;
- and after a fifth of that time when more than one in ten of those who waited are found to have gone.

It is the whole limit again as soon as a request has waited for less than half of the tight bound. (Under overload the
requests that are run have all waited for nearly the bound.)

Standard library only, Python 3.9.
"""

from __future__ import annotations

TIGHT_PART = 20  # the tight bound is the limit divided by this: 0.25 s of the default 5 s
NOTICED_SECONDS = 0.05  # a shorter wait is none: nobody gives up so soon, and it does not pay to look
GONE_SHARE = 0.1
SOONER_PART = 5  # of the limit: how long the queue has to stand when so many have gone
MEMORY = 32  # requests over which the share of those gone is taken, each newer one counting more than the older


class QueueBound:
    """One worker's view of its site's queue. ``seconds`` is the bound at present."""

    __slots__ = ("gone_share", "limit", "noticed", "seconds", "standing_since", "tight")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.tight = limit / TIGHT_PART
        self.noticed = min(NOTICED_SECONDS, self.tight / 2)  # requests that waited for less need not be asked about
        self.seconds = limit
        self.standing_since = (
            0.0  # since when nobody has waited for less than the tight bound; 0 when somebody has just now
        )
        self.gone_share = 0.0  # of those who waited lately

    def relax(self) -> None:
        """A request has hardly waited: there is no queue to speak of."""
        self.seconds = self.limit
        self.standing_since = 0.0

    def may_run(self, waited: float, is_gone: bool, now: float) -> bool:
        """Whether to run a request that has waited so long, and whose client has gone or not. To be asked of each that waited."""
        self.gone_share += (is_gone - self.gone_share) / MEMORY
        if waited <= self.tight / 2 or (waited <= self.tight and self.seconds == self.limit):
            self.relax()
        elif waited > self.tight:
            self.standing_since = self.standing_since or now
            lasting = self.limit / SOONER_PART if self.gone_share > GONE_SHARE else self.limit
            if now - self.standing_since >= lasting:
                self.seconds = self.tight
        return waited <= self.seconds and not is_gone

    def retry_after(self, now: float) -> int:
        """Seconds after which who is refused may try again: none of those who wait now will, then. Not the same for all."""
        return 1 + int(now * 1000) % max(1, round(self.limit))
