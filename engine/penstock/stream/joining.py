"""The stages that bring several streams together. Of a single stream, some are that stream."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from .. import _options as options
from .._failing import Errors, can_fail, check_errors, sides_of
from .._spec import Boundary, JoinOp, Node, Traits, caller, stage_name
from ..transforms import combining, sorted_merging

Nodes: TypeAlias = tuple[Node, ...]


def merge(nodes: Nodes) -> Node:
    """A channel that all share."""
    if len(nodes) == 1:
        return nodes[0]
    return Node("merge", Boundary(), nodes, caller())


def concat(nodes: Nodes) -> Node:
    """One after the other."""
    if len(nodes) == 1:
        return nodes[0]
    op = JoinOp(combining.concat, together=True, one_by_one=True)
    return Node("concat", op, nodes, caller(), Traits(each=True))


def interleave(nodes: Nodes) -> Node:
    """One item of each in turn."""
    if len(nodes) == 1:
        return nodes[0]
    op = JoinOp(combining.interleave, together=True, in_turn=True)
    return Node("interleave", op, nodes, caller(), Traits(each=True))


def zip_nodes(strict: bool, nodes: Nodes) -> Node:
    """Tuples of one item of each."""
    if not isinstance(strict, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise options.refuse("zip", f"strict must be True or False, got {strict!r}")
    work = partial(combining.zip_inputs, strict)
    return Node("zip", JoinOp(work, together=True, in_turn=True, gives="one"), nodes, caller())


def combine_latest(nodes: Nodes) -> Node:
    """Tuples of the newest of each."""
    return Node("combine_latest", JoinOp(combining.combine_latest), nodes, caller())


def merge_sorted(key: Callable[[Any], Any] | None, errors: Errors, nodes: Nodes) -> Node:
    """Sorted streams as one."""
    if key is not None:
        options.function("merge_sorted", "key", key, instead="map_async before it")
    check_errors("merge_sorted", errors)
    op = JoinOp(partial(sorted_merging.merge_sorted, key, errors), together=True)
    traits = Traits(each=True, fails=key is not None and can_fail(errors))
    return Node(stage_name("merge_sorted", key), op, nodes, caller(), traits, sides_of(errors))
