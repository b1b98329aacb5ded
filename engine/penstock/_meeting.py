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

Such a buffer is finite, so what can happen without it still can, once it is full. Where that is
sure (batches that it has no room for, or a way that gets more than the other of a stream that never
ends) it is an error, too; else it is something to be told of.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
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
    through: Node | None = None


@dataclass(frozen=True, slots=True)
class Shortage:
    """A way that needed a buffer and has one, which could fill up all the same.

    Attributes:
        hazard: what could happen if it had none.
        room: how many items may wait in its buffers.
        takes: how many items of the split it takes for one at the end of the other way, as against
            one at the end of this one; 0 where that isn't known.
        endless: whether the stream never ends, and the other way gets fewer of it for certain.
    """

    hazard: Hazard
    room: int
    takes: int
    endless: bool

    @property
    def level(self) -> Literal["error", "warning", "hint"]:
        """How sure it is."""
        if self.endless or self.takes > self.room:
            return "error"
        return "warning" if self.takes else "hint"

    @property
    def problem(self) -> str:
        """What the user is told."""
        branch, join = self.hazard.branch.name, self.hazard.join.name
        items = "1 item waits" if self.room == 1 else f"{self.room:,} items wait"
        if self.endless:
            why = f"{_reason(self.hazard.because)}, and the stream never ends"
        elif self.takes:
            why = (
                f"the other way gives one item for each {self.takes:,} of this one, so a long"
                " stream fills any buffer"
            )
        else:
            why = _reason(self.hazard.because)
        sure = "it waits" if self.level == "error" else "it could wait"
        return f"{sure} for ever once {items} in the buffer between {branch} and {join}: {why}"

    @property
    def error(self) -> PipelineError:
        """What the user is told who runs it."""
        return PipelineError(self.hazard.join.name, self.problem, self.hazard.join.where)


def find_hazard(ends: Iterable[Node]) -> Hazard | None:
    """The first way, of those that lead to ``ends``, that needs a buffer and has none."""
    ring = next(_rings(ends, buffered=True), None)
    return None if ring is None else _hazard(ring)


def find_shortages(ends: Iterable[Node]) -> list[Shortage]:
    """The ways that needed a buffer and have a finite one, each once."""
    ends = list(ends)
    endless = _endless(_nodes(ends))
    found: dict[tuple[int, int], Shortage] = {}
    for ring in _rings(ends, buffered=False):
        shortage = _shortage(ring, endless)
        if shortage is not None:
            found.setdefault((id(shortage.hazard.branch), id(shortage.hazard.join)), shortage)
    return list(found.values())


def _nodes(ends: Iterable[Node]) -> list[Node]:
    return list({id(node): node for end in ends for node in ancestors(end)}.values())


def _rings(ends: Iterable[Node], *, buffered: bool) -> Iterator[list[_Link]]:
    """How branches could wait for each other; ``buffered``: as if no buffer were ever full."""
    nodes = _nodes(ends)
    readers: dict[int, list[tuple[Node, int]]] = {}
    for node in nodes:
        for number, each in enumerate(node.inputs):
            readers.setdefault(id(each), []).append((node, number))
    links: dict[_State, list[_Link]] = {}
    for node in nodes:
        for link in _links(node, readers.get(id(node), []), buffered):
            links.setdefault(link.state, []).append(link)
    for link in (each for some in links.values() for each in some if each.because is not None):
        ring = _ring(link, links)
        if ring:
            yield ring


def _shortage(ring: list[_Link], endless: set[int]) -> Shortage | None:
    """What is to be said of a ring that buffers keep open for a while; None where they suffice."""
    full = [link.through for link in ring if link.through and link.state[0] == "full"]
    empty = [link.through for link in ring if link.through and link.state[0] == "empty"]
    room = sum(node.op.inlet.capacity for node in full if isinstance(node.op, Boundary))
    if not room:
        return None
    hazard = _hazard(ring)
    is_plain = sum(link.turn is not None for link in ring) == 2
    is_known = all(node.traits.takes or _gives(node) == "one" for node in [*full, *empty])
    if is_plain and is_known and _is_even(ring):
        of_full, of_empty = (prod(node.traits.takes or 1 for node in way) for way in (full, empty))
        if of_full >= of_empty:
            return None
        return Shortage(hazard, room, of_empty // of_full, id(hazard.branch) in endless)
    for_ever = is_plain and isinstance(hazard.because.op, JoinOp) and hazard.because.op.one_by_one
    return Shortage(hazard, room, 0, for_ever and id(hazard.branch) in endless)


def _is_even(ring: list[_Link]) -> bool:
    """Whether each item is dealt to both ways, and one of each is taken in turn."""
    return all(link.because is None or link.turn is None for link in ring)


def _endless(nodes: list[Node]) -> set[int]:
    """The stages whose stream never ends, of nodes in the order of the data."""
    found: set[int] = set()
    for node in nodes:
        inputs = [id(each) in found for each in node.inputs]
        if not inputs:
            never = node.traits.endless
        elif isinstance(node.op, JoinOp) and not node.op.one_by_one:
            never = all(inputs)
        else:
            never = any(inputs)
        if never and not node.traits.ends:
            found.add(id(node))
    return found


def _links(node: Node, readers: list[tuple[Node, int]], buffered: bool) -> Iterator[_Link]:
    """What a stage lets last, from its outputs to its inputs and back."""
    gives = _gives(node)
    fewer, more = _if(gives != "one", node), _if(gives == "any", node)
    outputs = [(id(reader), number) for reader, number in readers]
    for number in range(len(node.inputs)):
        for output in outputs:
            empty_before: _State = ("empty", id(node), number)
            yield _Link(("empty", *output), empty_before, fewer, through=node)
            if not (_is_buffer(node) if buffered else _never_fills(node)):
                full_before: _State = ("full", id(node), number)
                yield _Link(full_before, ("full", *output), more, through=node)
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


def _never_fills(node: Node) -> bool:
    """Whether it is one that throws items away, or fails, rather than to wait."""
    return _is_buffer(node) and isinstance(node.op, Boundary) and node.op.inlet.overflow != "block"


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
