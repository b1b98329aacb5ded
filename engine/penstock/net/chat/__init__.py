"""Asking models elsewhere: ``openai_chat`` and ``openai_models``.

upstream     an HTTP request to somebody else's server, tried again where that helps
openai       a model behind OpenAI's API, as a producer of its answer
"""
