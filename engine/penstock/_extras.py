"""Modules that only an extra of penstock installs."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from . import _options as options
from ._install_hint import install_hint


def required(stage: str, name: str) -> ModuleType:
    """The module ``name``; raises `PipelineError` that says how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        hint = install_hint(error)
        raise options.refuse(stage, f"needs {name}: {hint or error}") from error
