"""An open synchronous source, for as long as it is read: in worker threads where it may wait."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from ._spec import Puller, PullSource


@asynccontextmanager
async def opened(op: PullSource) -> AsyncGenerator[Puller]:
    """Open the source, and close it in the end.

    Opening one that may wait takes a thread, and so does closing it, which is waited for whatever
    is cancelled: a file must be closed, a generator's ``finally`` must have run.
    """
    if op.blocking:
        puller = await trio.to_thread.run_sync(op.open)
    else:
        puller = op.open()
    try:
        yield puller
    finally:
        if op.blocking:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(puller.close)
        else:
            puller.close()
