"""A script that was never meant to be imported."""

import sys

print("usage: app FILE")
sys.exit(3)
