"""The modules of a config file as one program: what a name, followed to the end, is made of. Pure.

A name is made of the statements that bind it and of those that change its object, and of all that
these read in turn. Two kinds of names are not followed: a topic stands for its name and the type of
its events, so that a topic that reads it doesn't depend on how it is made; and the server is the
same one throughout.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from .modules import Imported, Module, Statement, digest_of
from .references import Ref, decorators_of, dotted

Name: TypeAlias = tuple[str, str]
"""A module, and a name in it; ``*`` for the module as a whole."""

WHOLE = "*"
_SEES_ITS_MODULE = frozenset({"globals", "vars", "locals", "eval", "exec"})
_SEES_ALL = frozenset({"__import__", "import_module"})
_LOOKS_INTO_TOPIC = frozenset({"build", "source", "into_log"})


@dataclass(frozen=True, slots=True)
class Use:
    """A dotted name that is read in a module."""

    module: str
    ref: Ref


@dataclass(frozen=True, slots=True)
class TopicType:
    """What those who read a topic see of its declaration: a digest, and the names in it."""

    digest: str
    uses: frozenset[Use] = frozenset()


@dataclass(slots=True)
class Parts:
    """All that something is made of.

    Attributes:
        digests: of everything in it.
        topics: the topics that it reads.
        on_processes: whether functions in it may be handed to worker processes.
    """

    digests: set[str] = field(default_factory=set[str])
    topics: set[str] = field(default_factory=set[str])
    on_processes: bool = False

    @property
    def digest(self) -> str:
        """One digest for all of it."""
        return digest_of("\n".join(sorted(self.digests)))


class Program:
    """The modules, and the names in them that stand for topics and servers.

    Attributes:
        modules: by their names.
        servers: the names that stand for a server.
        topic_types: what readers see of each topic; to be filled in before `parts` is called.
    """

    def __init__(
        self, modules: Mapping[str, Module], topics: Mapping[Name, str], servers: frozenset[Name]
    ) -> None:
        self.modules = modules
        self.topic_types: dict[str, TopicType] = {}
        self._topics = topics
        self.servers = servers
        self._changing: dict[Name, list[Statement]] = defaultdict(list)
        for statement in self.statements:
            for name in self._changed_by(statement):
                self._changing[name].append(statement)

    @property
    def statements(self) -> list[Statement]:
        """Those of all modules."""
        return [each for module in self.modules.values() for each in module.statements]

    # What code is made of

    def uses_in(self, module: str, node: ast.AST, refs: Iterable[Ref]) -> frozenset[Use]:
        """What a piece of a module's code reads, by names and by imports within it."""
        uses = {Use(module, ref) for ref in refs}
        for target in self.modules[module].imports_within(node):
            uses |= self._use_of_import(target)
        return frozenset(uses)

    def uses_of(self, statement: Statement, name: str = WHOLE) -> frozenset[Use]:
        """What a statement reads; of a star import, what it reads for `name`."""
        uses = {Use(statement.module, ref) for ref in statement.refs}
        for _, target in statement.imports:
            uses |= self._use_of_import(target, name)
        return frozenset(uses)

    def parts(self, uses: Iterable[Use]) -> Parts:
        """All that the names used are made of, to the end."""
        parts = Parts()
        pending = list(uses)
        seen: set[Use | Name] = set()
        while pending:
            use = pending.pop()
            if use in seen:
                continue
            seen.add(use)
            topic = self.topic_of(use)
            if topic is not None:
                pending += self._note_topic(parts, topic)
                continue
            for name in self._names(use):
                if name not in seen and name not in self.servers:
                    seen.add(name)
                    pending += self._note_name(parts, name)
        return parts

    def topic_of(self, use: Use) -> str | None:
        """The topic that a name stands for; None where it is none, or is looked into."""
        module: str | None = use.module
        for place, each in enumerate(use.ref):
            if module is None:
                return None
            topic = self._topics.get((module, each))
            if topic is not None:
                return None if _LOOKS_INTO_TOPIC & set(use.ref[place:]) else topic
            module = self._module_behind(module, each)
        return None

    def named_topic(self, use: Use) -> str | None:
        """The topic that a name stands for itself, not something of a topic."""
        before = Use(use.module, use.ref[:-1])
        return self.topic_of(use) if not before.ref or self.topic_of(before) is None else None

    def is_server(self, use: Use) -> bool:
        """Whether a name is that of a server, or of something of it."""
        return any(name in self.servers for name in self._names(use))

    def _note_topic(self, parts: Parts, topic: str) -> Iterable[Use]:
        parts.topics.add(topic)
        kind = self.topic_types.get(topic, TopicType(""))
        parts.digests.add(f"topic {topic} {kind.digest}")
        return kind.uses

    def _note_name(self, parts: Parts, name: Name) -> list[Use]:
        """Note the statements that a name is made of; gives what they read."""
        module_name, attribute = name
        module = self.modules[module_name]
        statements = list(module.statements) if attribute == WHOLE else module.binding(attribute)
        statements = [*statements, *self._changing.get(name, [])]
        digests = dict.fromkeys(statement.digest for statement in statements)
        parts.digests.add(f"{module_name} {attribute} {' '.join(digests)}")
        parts.on_processes |= any(mentions_processes(each.node) for each in statements)
        return [use for each in statements for use in self.uses_of(each, attribute)]

    # Following names

    def _names(self, use: Use) -> list[Name]:
        """The definitions in our modules that a dotted name leads to."""
        if use.ref[0] == WHOLE or use.ref[0] in _SEES_ITS_MODULE:
            return [(use.module, WHOLE)]
        if _SEES_ALL & set(use.ref):
            return [(name, WHOLE) for name in self.modules]
        module = use.module
        for name in use.ref:
            inner = self._module_behind(module, name)
            if inner is None:
                if self.modules[module].binding(name):
                    return [(module, name)]
                # Python's own; or, in a module, made in a way that can't be seen.
                return [] if module == use.module else [(module, WHOLE)]
            module = inner
        return [(module, WHOLE)]

    def _module_behind(self, module: str, name: str) -> str | None:
        """The module of ours that a name in a module stands for; None where it is none."""
        for statement in self.modules[module].binding(name):
            for bound, target in statement.imports:
                if bound == name and _module_name(target) in self.modules:
                    return _module_name(target)
        inner = f"{module}.{name}"
        return inner if inner in self.modules else None

    def _use_of_import(self, target: Imported, star: str = WHOLE) -> set[Use]:
        """What an import reads of our modules; of ``*``, the name `star`."""
        if _module_name(target) in self.modules:
            return {Use(_module_name(target), (WHOLE,))}
        if target.name is None or target.module not in self.modules:
            return set()
        return {Use(target.module, (star if target.name == WHOLE else target.name,))}

    # Who changes what

    def _changed_by(self, statement: Statement) -> set[Name]:
        """The names whose objects a statement changes when its module is executed."""
        changed: set[Name] = set()
        if not statement.is_definition:
            changed |= self.definitions(statement.module, statement.changes)
        executed = [Use(statement.module, ref) for ref in statement.executed]
        if statement.is_bare and not any(map(self.is_ours, executed)):
            changed |= self.definitions(statement.module, statement.executed)
        # @LIST.register: what decorates may well keep what it decorates
        keepers = (dotted(_callee(each)) for each in decorators_of(statement.node))
        changed |= self.definitions(
            statement.module, [each[:-1] for each in keepers if each and len(each) > 1]
        )
        for use in executed:
            changed |= self._changed_in_call(use)
        own = {(statement.module, name) for name in statement.binds}
        return changed - self.servers - self._topics.keys() - own

    def is_ours(self, use: Use) -> bool:
        """Whether a name is a server's or a topic's: its statement declares rather than changes."""
        return self.topic_of(use) is not None or self.is_server(use)

    def _changed_in_call(self, use: Use) -> set[Name]:
        """What a function of ours changes in its module: the table of ``@register(...)``."""
        return {
            name
            for definition in map(self._origin, self._names(use))
            if definition[1] != WHOLE
            for statement in self.modules[definition[0]].binding(definition[1])
            if statement.is_definition
            for name in self.definitions(definition[0], statement.changes)
        }

    def definitions(self, module: str, refs: Iterable[Ref]) -> set[Name]:
        """The names of our modules that dotted names lead to, past imports; no foreign names."""
        origins = {self._origin(name) for ref in refs for name in self._names(Use(module, ref))}
        return {name for name in origins if name[1] != WHOLE and not self._is_import(name)}

    def _origin(self, name: Name) -> Name:
        """Where a name that was imported from one of our modules is defined."""
        for _ in self.modules:  # a chain of imports is no longer than this, unless it is a circle
            target = self._is_import(name)
            if target is None or target.name in (None, WHOLE) or target.module not in self.modules:
                break
            name = (target.module, str(target.name))
        return name

    def _is_import(self, name: Name) -> Imported | None:
        """What a name stands for that an import statement binds, and nothing else does."""
        statements = self.modules[name[0]].binding(name[1])
        if len(statements) != 1 or not statements[0].is_import:
            return None
        return statements[0].imports[0][1]


def _module_name(target: Imported) -> str:
    return target.module if target.name is None else f"{target.module}.{target.name}"


def _callee(decorator: ast.expr) -> ast.expr:
    return decorator.func if isinstance(decorator, ast.Call) else decorator


def mentions_processes(node: ast.AST) -> bool:
    """Whether code says ``on="process"`` or the like: functions for workers go by their names."""
    return any(
        isinstance(each, ast.Constant) and each.value == "process" for each in ast.walk(node)
    )
