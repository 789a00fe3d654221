"""Waits for ever and wants to hear nothing: every signal that can be ignored or blocked is."""

import faulthandler
import signal

faulthandler.disable()
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
for number in signal.valid_signals():
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    signal.sigtimedwait([], 1)
