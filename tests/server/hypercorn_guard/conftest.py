"""The classes of Hypercorn that a test asks for."""

# pyright: reportPrivateUsage=false, reportUnknownVariableType=false
# The plain classes come back by a private function; Hypercorn's types are incomplete.

from collections.abc import Generator

import pytest

from .serving import hypercorn_classes


@pytest.fixture
def guarded() -> Generator[None]:
    with hypercorn_classes(guarded=True):
        yield


@pytest.fixture
def plain() -> Generator[None]:
    with hypercorn_classes(guarded=False):
        yield
