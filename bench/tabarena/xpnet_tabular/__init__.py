"""xpnet's tabular estimators as a model of TabArena."""
