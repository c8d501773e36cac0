"""The compiled training step: what it offers, how a batch is cut, and what its threads do."""
