"""Publishing to a topic: ``publisher`` and ``publish``.

queue        what waits to be sent
encoding     an item as it is queued
report       what became of the items
policy       what to do about each answer and each failure
settings     the options that a user writes, checked
requests     one request, one answer
publisher    ``publisher``: publishing, for applications
sink         ``publish``: publishing, for pipelines
"""
