"""Linear models beside networks, and parts of them.

``baseline``     trees and a linear model that become a part of a network
``solvers``      the fits of linear models
``wide_tables``  linear models of tables with more numbers than rows
"""
