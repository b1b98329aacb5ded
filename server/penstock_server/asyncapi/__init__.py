"""``GET /asyncapi.json``: the topics as an AsyncAPI 3.0 document, for people and for generators.

``asyncapi_document`` puts it together; `vocabulary` has what is the same on every server, `schemas`
the types of the topics.
"""

from .document import Address, Topic, asyncapi_document

__all__ = ["Address", "Topic", "asyncapi_document"]
