"""What a worker becomes before site code runs: a list of operations, computed in one place and executed in another."""
