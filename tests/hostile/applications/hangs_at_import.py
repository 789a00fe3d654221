"""Waits for ever while it is imported, as for a database that does not answer."""

import time


def wait_for_the_database() -> None:
    """Never returns."""
    while True:
        time.sleep(1)


wait_for_the_database()
