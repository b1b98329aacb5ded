"""What is to be done about each topic when its config file has changed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from ..options import TopicOptions
from .fingerprints import Fingerprint, Fingerprints

Action: TypeAlias = Literal["kept", "changed", "restarted", "replaced", "added", "removed"]
"""``kept``: nothing. ``changed``: its options, while it runs. ``restarted``: its pipeline, on the
same log. ``replaced``: it has a new log, and its readers are told to reconnect. ``added``,
``removed``: there was none before, or is none now.
"""

_NEED_A_LOG = frozenset({"encoding", "key", "slow", "batch"})
_NEED_A_START = frozenset({"start"})
_BY_DIGEST = frozenset({"accepts", "key"})  # types and functions are others after each load


@dataclass(frozen=True, slots=True)
class Side:
    """A topic as it runs, or as it is declared now.

    Attributes:
        fingerprint: what it is made of.
        options: what it is declared with.
        ended: whether its log has ended.
    """

    fingerprint: Fingerprint
    options: TopicOptions
    ended: bool = False


def plan(running: Mapping[str, Side], declared: Mapping[str, Side]) -> dict[str, Action]:
    """The action for each topic, declared ones first, in their order."""
    actions: dict[str, Action] = {
        name: _action(running[name], side) if name in running else "added"
        for name, side in declared.items()
    }
    actions |= {name: "removed" for name in running if name not in declared}
    gone = {name for name, action in actions.items() if action in ("replaced", "removed")}
    for name, side in declared.items():
        # What it reads has another log now.
        if side.fingerprint.reads & gone and actions[name] in ("kept", "changed"):
            actions[name] = "replaced" if running[name].ended else "restarted"
    return actions


def _action(before: Side, now: Side) -> Action:
    differing = changed_options(before, now)
    if differing & _NEED_A_LOG:
        return "replaced"
    again = before.fingerprint.pipeline != now.fingerprint.pipeline
    # Functions for worker processes are found by name, so they must be of the latest load.
    if again or differing & _NEED_A_START or now.fingerprint.on_processes:
        return "replaced" if before.ended and again else "kept" if before.ended else "restarted"
    return "changed" if differing else "kept"


def changed_options(before: Side, now: Side) -> set[str]:
    """The options that differ."""
    differing = {
        each.name
        for each in fields(TopicOptions)
        if each.name not in _BY_DIGEST
        and getattr(before.options, each.name) != getattr(now.options, each.name)
    }
    return differing | {name for name in _BY_DIGEST if _made_anew_differs(name, before, now)}


def _made_anew_differs(option: str, before: Side, now: Side) -> bool:
    """Whether a type or a function differs, which each load makes anew."""
    first, second = getattr(before.options, option), getattr(now.options, option)
    if first is None or second is None or isinstance(first, str) or isinstance(second, str):
        return bool(first != second)
    return before.fingerprint.option(option) != now.fingerprint.option(option)


def restart_needed(running: Fingerprints, last: Fingerprints, now: Fingerprints) -> list[str]:
    """What of the server differs from the running one and can't be changed; each change once."""
    parts = dict.fromkeys([*running.server, *last.server, *now.server])
    return [
        part
        for part in parts
        if now.server.get(part) not in (running.server.get(part), last.server.get(part))
    ]


_SHOWN = 3


def summary(actions: Mapping[str, Action], jobs: Collection[str] = ()) -> str:
    """``cpu restarted, notes unchanged (1 topic kept)``; with ``jobs``, that those follow, too."""
    groups: dict[str, list[str]] = {}
    for name, action in actions.items():
        groups.setdefault("unchanged" if action == "kept" else action, []).append(name)
    order = ("restarted", "replaced", "changed", "added", "removed")
    said = [f"{', '.join(groups[each])} {each}" for each in order if each in groups]
    kept = groups.get("unchanged", [])
    if 0 < len(kept) <= _SHOWN:
        said.append(f"{', '.join(kept)} unchanged")
    number = len([action for action in actions.values() if action in ("kept", "changed")])
    kept_topics = f"{number} topic{'s' * (number != 1)} kept"
    followed = f"; from the next run on: {_named(jobs)}" if jobs else ""
    return f"{', '.join(said) or 'nothing changed'} ({kept_topics}){followed}"


def _named(jobs: Collection[str]) -> str:
    if len(jobs) > _SHOWN:
        return f"{len(jobs)} jobs"
    return f"job{'s' * (len(jobs) != 1)} {', '.join(jobs)}"
