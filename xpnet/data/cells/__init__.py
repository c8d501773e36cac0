"""Rules by which single cells are read: numbers, dates, durations and gaps in text.

``forms``      the form of a column, learned from its training rows, which reads each later text
``numbers``    numbers with marks and units
``dates``      dates and times in their usual forms, or in a format of the user's
``durations``  durations as pandas writes them
``gaps``       words that are gaps

Frames, dicts and files are read by the same functions, which take distinct texts.
"""
