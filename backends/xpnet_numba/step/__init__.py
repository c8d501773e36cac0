"""The compiled training step: interface, division of a batch, work of the threads."""
