"""Whether branches that meet again could wait for each other for ever. Pure.

A split deals its items to one branch after the other and waits for room in each. So it can be stuck
at a full branch, while a join behind another branch waits for what the split would deal next. Where
that join is the one which leaves the full branch waiting, nothing moves any more; likewise where
several splits and joins hold each other up in a ring.

In a ring of branches of a broadcast that give one item for each and meet in joins that take one of
each in turn (`zip`, `interleave`), it can't happen: a join that waits for its n-th item is held up
by one that waits for an earlier item, that one by a still earlier one, so the ring can't close.
This needs a split to deal in pieces that go whole into a branch or not at all, as it does.

Anything else in the ring can change the numbers: an operator that gives fewer items starves the
join behind it, one that gives more fills the way behind it, a partition deals its branches
different numbers, `merge_sorted` and `concat` take many items of one input before one of another.
Then the user must say how many items may wait, with a ``.buffer(n)`` on the way that fills up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ._errors import PipelineError
from ._spec import Boundary, Branch, Gives, JoinOp, Node, SplitOp, ancestors

_State: TypeAlias = tuple[Literal["empty", "full"], int, int]
"""A stage's input, by the stage's ``id`` and the input's number, has no items, or no room."""


@dataclass(frozen=True, slots=True)
class Hazard:
    """A way that could fill up while the join behind it waits for what is dealt next elsewhere.

    Attributes:
        branch: the branch where the way begins.
        join: where it ends, the one that leaves it waiting.
        because: the stage on whose account the numbers differ.
    """

    branch: Node
    join: Node
    because: Node

    @property
    def error(self) -> PipelineError:
        """What the user is told."""
        way = f"{self.branch.name} and {self.join.name}"
        return PipelineError(
            self.join.name,
            f"it could wait for ever once {self.branch.name} is full: {_reason(self.because)};"
            f" say how many items may wait there, with .buffer(n) between {way}",
            self.join.where,
        )


@dataclass(frozen=True, slots=True)
class _Link:
    """One state that lasts as long as another does.

    Attributes:
        because: a stage that may change the numbers between the two, if any.
        turn: the branch that fills up while the split leaves another one empty, or the join that
            leaves one input full while another is empty; None on the ways between these.
    """

    state: _State
    lasts_with: _State
    because: Node | None = None
    turn: Node | None = None


def find_hazard(ends: Iterable[Node]) -> Hazard | None:
    """The first way, of those that lead to ``ends``, that needs a buffer and has none."""
    nodes = list({id(node): node for end in ends for node in ancestors(end)}.values())
    readers: dict[int, list[tuple[Node, int]]] = {}
    for node in nodes:
        for number, each in enumerate(node.inputs):
            readers.setdefault(id(each), []).append((node, number))
    links: dict[_State, list[_Link]] = {}
    for node in nodes:
        for link in _links(node, readers.get(id(node), [])):
            links.setdefault(link.state, []).append(link)
    for link in (each for some in links.values() for each in some if each.because is not None):
        ring = _ring(link, links)
        if ring:
            return _hazard(ring)
    return None


def _links(node: Node, readers: list[tuple[Node, int]]) -> Iterator[_Link]:
    """What a stage lets last, from its outputs to its inputs and back."""
    gives = _gives(node)
    fewer, more = _if(gives != "one", node), _if(gives == "any", node)
    outputs = [(id(reader), number) for reader, number in readers]
    for number in range(len(node.inputs)):
        for output in outputs:
            yield _Link(("empty", *output), ("empty", id(node), number), fewer)
            if not _is_buffer(node):
                yield _Link(("full", id(node), number), ("full", *output), more)
    if isinstance(node.op, SplitOp):
        for output in outputs:
            for branch, number in readers:
                if (id(branch), number) != output:
                    full: _State = ("full", id(branch), number)
                    yield _Link(("empty", *output), full, fewer, branch)
    elif isinstance(node.op, JoinOp) and node.op.together:
        uneven = _if(not node.op.in_turn, node)
        for full_one in range(len(node.inputs)):
            for empty_one in range(full_one if node.op.one_by_one else len(node.inputs)):
                if empty_one != full_one:
                    empty: _State = ("empty", id(node), empty_one)
                    yield _Link(("full", id(node), full_one), empty, uneven, node)


def _ring(link: _Link, links: dict[_State, list[_Link]]) -> list[_Link]:
    """The shortest ring that begins with ``link``; none where it doesn't close."""
    ways: dict[_State, list[_Link]] = {link.lasts_with: [link]}
    waiting = deque([link.lasts_with])
    while waiting:
        state = waiting.popleft()
        if state == link.state:
            return ways[state]
        for each in links.get(state, ()):
            if each.lasts_with not in ways:
                ways[each.lasts_with] = [*ways[state], each]
                waiting.append(each.lasts_with)
    return []


def _hazard(ring: list[_Link]) -> Hazard:
    """What is wrong in a ring: the way that fills up on account of its first link."""
    because = ring[0].because
    assert because is not None, "a ring is looked for from a link that changes the numbers"
    splits = [
        n for n, link in enumerate(ring) if link.turn is not None and link.state[0] == "empty"
    ]
    start = splits[-1] if ring[0].state[0] == "full" else splits[0]
    branch, join = ring[start].turn, None
    for link in [*ring[start + 1 :], *ring[:start]]:
        if link.turn is not None:
            join = link.turn
            break
    assert branch is not None, "a ring goes through a split"
    assert join is not None, "a ring goes through a join"
    return Hazard(branch, join, because)


def _gives(node: Node) -> Gives:
    """How many items a stage gives for each that it takes of one input."""
    match node.op:
        case JoinOp(gives=gives):
            return gives
        case SplitOp(copies=copies):
            return "one" if copies else "at_most_one"
        case Branch():
            return "one"
        case _:
            return node.traits.gives if len(node.inputs) < 2 else "any"


def _is_buffer(node: Node) -> bool:
    """Whether it is a ``.buffer(n)``, by which the user has said how many items may wait."""
    return isinstance(node.op, Boundary) and len(node.inputs) == 1


def _if(condition: bool, node: Node) -> Node | None:
    return node if condition else None


def _reason(node: Node) -> str:
    match node.op:
        case SplitOp():
            return f"the branches of {node.name} get different numbers of items"
        case JoinOp(one_by_one=True):
            return f"{node.name} takes all of one stream before it asks the next"
        case JoinOp():
            return f"{node.name} may take many items of one stream before one of another"
        case Boundary() if len(node.inputs) > 1:
            return f"{node.name} gives the items of several streams"
        case _:
            return f"{node.name} doesn't give exactly one item for each that it takes"
