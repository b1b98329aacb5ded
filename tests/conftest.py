"""What all tests share: an ERROR in the log that no test asked for is a failure."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import hypothesis
import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "expect_error_log: the test provokes records of level ERROR in the log"
    )
    # A deadline per example would only measure how busy the machine is.
    hypothesis.settings.register_profile("penstock", deadline=None)
    hypothesis.settings.load_profile("penstock")


@pytest.fixture(autouse=True)
def no_unexpected_error_log(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    yield
    if request.node.get_closest_marker("expect_error_log"):
        return
    errors = [
        f"{record.name}: {record.getMessage()}"
        for when in ("setup", "call")
        for record in caplog.get_records(when)
        if record.levelno >= logging.ERROR
    ]
    assert not errors, "unexpected ERROR in the log:\n" + "\n".join(errors)
