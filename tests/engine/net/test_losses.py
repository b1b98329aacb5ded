"""What becomes of losses where nobody is told."""

from __future__ import annotations

import logging

import pytest

from penstock.net.losses import Loss, log_loss


def test_the_first_loss_in_a_row_is_a_warning_without_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = "https://me:secret@[::1]:8/ws?token=secret#secret"
    with caplog.at_level(logging.DEBUG, "penstock.net"):
        for attempt in (1, 2):
            log_loss(url, Loss("cut", attempt, 1.0, None))
    said = "https://[::1]:8/ws: cut; trying again in 1 s"
    records = [(each.name, each.levelname, each.getMessage()) for each in caplog.records]
    assert records == [("penstock.net", "WARNING", said), ("penstock.net", "DEBUG", said)]
