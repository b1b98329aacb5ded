"""What happens in a worker, thread or process: calls for the items of one group."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from ..._errors import AsyncMismatch, PenstockError, describe
from ..._failing import plain_answer
from ..._spec import Chunk


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a group.

    Attributes:
        results: one for each item called, in order; None where the call failed.
        failures: the positions of those, and what was raised.
        seconds: how long the calls took.
        held_the_loop: seconds for which the run's event loop was kept by the group.
    """

    results: Chunk
    failures: list[tuple[int, Exception]]
    seconds: float
    held_the_loop: float = 0.0


class UnpicklableError(PenstockError):
    """Stands for an error of the function that can't be brought out of its worker process."""


def call_each(
    f: Callable[[Any], Any],
    items: Chunk,
    before_each: Callable[[int], object],
    *,
    stop_at_failure: bool,
) -> Outcome:
    """Call ``f`` for each item; ``before_each(position)`` raises to stop between two.

    If the first answer shows it to be async, that is the only failure, and the last call.
    """
    results: Chunk = []
    failures: list[tuple[int, Exception]] = []
    started = perf_counter()
    for position, item in enumerate(items):
        before_each(position)
        try:
            result = f(item)
            if not position:
                plain_answer(result, "map_async")
            results.append(result)
        except AsyncMismatch as error:
            return Outcome([None], [(position, error)], perf_counter() - started)
        except Exception as error:  # noqa: BLE001 - carried back to the run, whatever it is
            results.append(None)
            failures.append((position, error))
            if stop_at_failure:
                break
    return Outcome(results, failures, perf_counter() - started)


def pickled(outcome: Outcome) -> bytes:
    """The outcome to be sent to another process; results that can't be are failures."""
    failures = [(position, portable(error)) for position, error in outcome.failures]
    results = list(outcome.results)
    try:
        return pickle.dumps(Outcome(results, failures, outcome.seconds), pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - __reduce__ may do anything; the culprits are sought
        for position, result in enumerate(results):
            try:
                pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
            except Exception as error:  # noqa: BLE001 - see above
                results[position] = None
                failures.append((position, portable(error)))
    failures.sort(key=lambda failure: failure[0])
    return pickle.dumps(Outcome(results, failures, outcome.seconds), pickle.HIGHEST_PROTOCOL)


def portable(error: Exception) -> Exception:
    """The error with its traceback as a note, or what stands for it where it can't be pickled."""
    error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error, pickle.HIGHEST_PROTOCOL))  # noqa: S301 - made right here
    except Exception:  # noqa: BLE001 - __reduce__ and __init__ may do anything
        return UnpicklableError(describe(error))
    return error
