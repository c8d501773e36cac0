"""Programs on several ranks, their launchers, and a group whose ranks are threads."""
