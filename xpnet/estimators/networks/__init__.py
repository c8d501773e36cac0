"""The network of a fit: where it computes, and what it begins with.

``placement``     where a fit computes
``network_plan``  a new network, or that of the fit before, which goes on
``initial``       the random generator and the first weights
"""
