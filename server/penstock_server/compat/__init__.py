"""Models of language on the web: a chat model is a job, and OpenAI's API is one way to tell of it.

A run's log holds the pieces of one answer. It is read as any job's log is, and in two framings
more, whose clients need not know anything of jobs.

- ``deltas``: what a model yields, made into the pieces that the log holds
- ``requests``: a request of OpenAI's API, read; ``ui_messages``: one of the UI message stream
- ``chat_model``: what is declared: a function from messages to a stream, as a job
- ``errors``: what is wrong, in OpenAI's words
- ``openai``: a log as chunks, or as one completion; ``ui_stream``: as UI message stream
- ``chats``: which run is a chat's answer
"""

from .chat_model import ChatModel, ChatOptions
from .chats import Answering, Chats
from .deltas import AnswerDelta, ToolCall
from .errors import BadChatRequest, error_of
from .openai import ChunkFraming, completion_of
from .requests import ChatRequest, OpenAIRequest, model_not_found, parse_openai_request
from .ui_messages import UIRequest, parse_ui_request
from .ui_stream import UI_HEADER, UIFraming

__all__ = [
    "UI_HEADER",
    "AnswerDelta",
    "Answering",
    "BadChatRequest",
    "ChatModel",
    "ChatOptions",
    "ChatRequest",
    "Chats",
    "ChunkFraming",
    "OpenAIRequest",
    "ToolCall",
    "UIFraming",
    "UIRequest",
    "completion_of",
    "error_of",
    "model_not_found",
    "parse_openai_request",
    "parse_ui_request",
]
