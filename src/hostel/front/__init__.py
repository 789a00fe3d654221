"""The front: nginx, with one fixed configuration over the run tree."""
