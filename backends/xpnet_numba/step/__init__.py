"""The compiled training step: its interface, the division of a batch, and the work of its threads."""
