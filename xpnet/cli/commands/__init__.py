"""The commands: the arguments of each, and what it prints.

``train``      ``xpnet train``
``predict``    ``xpnet predict``
``evaluate``   ``xpnet evaluate`` and ``xpnet explain``
``refine``     ``xpnet refine``
``inspect``    ``xpnet inspect`` and ``xpnet export``
``doctor``     ``xpnet doctor``, ``xpnet backends`` and ``xpnet warmup``
``reproduce``  ``xpnet reproduce``
"""
