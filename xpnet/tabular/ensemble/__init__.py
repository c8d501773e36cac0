"""Networks of a fit: their settings, their training, and the choice of those that predict."""
