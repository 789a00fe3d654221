"""The control API: one table of calls over the control socket; the command line is its client."""
