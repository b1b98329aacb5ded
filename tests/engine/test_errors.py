from __future__ import annotations

import pickle

from penstock import BufferOverflow, Location, PenstockError, PipelineError, StageError
from penstock._errors import describe, short_repr


class BadRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_pipeline_error_says_stage_problem_and_line() -> None:
    error = PipelineError("batch", "size must be more than 0", Location("app.py", 7))
    assert str(error) == "batch: size must be more than 0 (app.py:7)"
    assert str(PipelineError("batch", "no")) == "batch: no"


def test_a_stage_error_says_stage_item_cause_and_line() -> None:
    cause = ValueError("not a number")
    error = StageError("map(parse)", cause, item_repr="'x'", where=Location("app.py", 7))
    assert str(error) == (
        "map(parse) failed on item 'x': ValueError: not a number (stage written at app.py:7)"
    )
    assert error.__cause__ is cause


def test_a_stage_error_without_an_item() -> None:
    assert str(StageError("tick", KeyError())) == "tick failed: KeyError"


def test_all_are_penstock_errors() -> None:
    assert isinstance(PipelineError("a", "b"), PenstockError)
    assert isinstance(StageError("a", ValueError()), PenstockError)
    assert isinstance(BufferOverflow(1), PenstockError)


def test_a_pipeline_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(PipelineError("batch", "no", Location("app.py", 7))))
    assert str(error) == "batch: no (app.py:7)"


def test_a_long_repr_is_cut() -> None:
    text = short_repr("x" * 1000)
    assert len(text) == 200
    assert text.endswith("…")


def test_a_repr_that_raises_is_told_and_not_raised() -> None:
    assert short_repr(BadRepr()) == "<BadRepr, whose repr raised RuntimeError>"


def test_describe_needs_no_message() -> None:
    assert describe(ValueError()) == "ValueError"
    assert describe(ValueError("why")) == "ValueError: why"
