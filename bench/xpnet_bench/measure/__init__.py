"""Contenders are measured in processes of their own, one of them
working at a time, round by round.
"""
