"""``penstock serve --reload``: a changed config file restarts only the topics that changed.

references      which names a piece of code reads, binds and changes
modules         a module's top-level statements, without positions, comments and docstrings
fingerprints    what each topic is made of, as digests that can be compared
watch           noticing that files have changed, once they have settled
loading         the config file and the modules beside it, anew
plan            what is to be done about each topic
apply           doing it to the running server
reloader        all of it, for as long as the server runs

For development: every load runs the modules again, with whatever they do at their top level.
"""

from .reloader import Reloader

__all__ = ["Reloader"]
