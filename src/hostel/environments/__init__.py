"""Environments on the disk: made, made anew, looked at. The command line's; the manager does without."""
