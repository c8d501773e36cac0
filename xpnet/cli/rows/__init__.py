"""The rows of a data file with their targets: taken, divided, weighted."""
