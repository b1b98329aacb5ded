"""Operators that look at Trio's clock.

An item's time is the moment at which its operator takes it: at once, unless the stages behind keep
the operator waiting. What comes together is taken together, at the cost of one look at the clock.
Intervals hold their start and not their end: what comes just when a time is up belongs to the next.
"""
