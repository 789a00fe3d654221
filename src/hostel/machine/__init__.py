"""What a site does when something happens: pure. Events in, commands out; no I/O, no clock, no logging."""
