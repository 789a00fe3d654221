"""The supervisor: the tiny process that keeps every long-lived descriptor, starts programs and reaps. Stdlib only."""
