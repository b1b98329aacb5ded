"""What each topic of a config file is made of, as digests that can be compared. Pure.

Positions, comments and docstrings count for nothing, nor does what the topic doesn't use. What
can't be seen through counts as used: all of a loop that declares topics; all callers of a function
that does.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .modules import Module, Source, Statement, digest_of, digest_of_tree, replaced
from .program import Name, Parts, Program, TopicType, Use, mentions_processes
from .references import decorators_of, dotted, references

# Of a topic's options; `**options` may hold them, too.
_SEEN_BY_READERS = frozenset({"accepts", "encoding", None})


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Declarations:
    """What is known of a config file once it was loaded.

    Attributes:
        topics: where each topic was declared; None where that isn't known.
        topic_names: the topics that names of the modules stand for.
        server_names: the names that stand for the server.
    """

    topics: Mapping[str, Place | None]
    topic_names: Mapping[Name, str]
    server_names: frozenset[Name]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What one topic is made of. Equal digests: nothing that matters was changed.

    Attributes:
        options: a digest of each option in its declaration; of all together under "" where the
            declaration can't be seen through.
        pipeline: a digest of all that its pipeline is made of, what feeds it.
        reads: the topics that the pipeline reads.
        on_processes: whether functions of it may be handed to worker processes, which find them by
            their module's name: they have to be those of the module that is loaded.
    """

    options: Mapping[str, str]
    pipeline: str
    reads: frozenset[str] = frozenset()
    on_processes: bool = False

    def option(self, name: str) -> str | None:
        """A digest that covers an option; None where it isn't given."""
        return self.options.get(name) or self.options.get("")


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """All topics of a config file, and what of the server can't be changed while it runs.

    Attributes:
        topics: by name.
        server: digests of the server's options (``cors=``), of its ``lifespan`` and its ``routes``.
    """

    topics: Mapping[str, Fingerprint]
    server: Mapping[str, str]


def take_fingerprints(sources: Mapping[str, Source], declared: Declarations) -> Fingerprints:
    """The fingerprints of all topics. Raises `SyntaxError`."""
    modules = {name: Module(name, source) for name, source in sources.items()}
    program = Program(modules, declared.topic_names, declared.server_names)
    everything = digest_of("".join(sorted(each.digest for each in program.statements)))
    found = {name: _find(program, place) for name, place in declared.topics.items()}
    for name, declaration in found.items():
        if declaration is not None:
            program.topic_types[name] = declaration.type(program)
    return Fingerprints(
        {
            name: Fingerprint({"": everything}, everything)
            if declaration is None
            else _fingerprint(program, name, declaration)
            for name, declaration in found.items()
        },
        _of_server(program),
    )


@dataclass(frozen=True, slots=True)
class _Declaration:
    """The statement that declares a topic, and the call in it; None where it can't be told."""

    statement: Statement
    call: ast.Call | None

    def type(self, program: Program) -> TopicType:
        """What those who read the topic see of it."""
        if self.call is None:
            return TopicType(self.statement.digest, program.uses_of(self.statement))
        seen = ast.Call(
            func=self.call.func,
            args=self.call.args,
            keywords=[each for each in self.call.keywords if each.arg in _SEEN_BY_READERS],
        )
        uses = [Use(self.statement.module, ref) for ref in references(seen)]
        return TopicType(digest_of_tree(seen), frozenset(uses))


def _find(program: Program, place: Place | None) -> _Declaration | None:
    """The declaration on a line; None where it is in none of the modules."""
    if place is None:
        return None
    for module in program.modules.values():
        statement = module.at(place.line) if module.path == place.file else None
        if statement is not None:
            return _Declaration(statement, _call_on(statement, place.line))
    return None


def _call_on(statement: Statement, line: int) -> ast.Call | None:
    """The one call of ``.topic(…)`` on a line that is executed as the statement is."""
    calls = [
        each
        for each in ast.walk(statement.node)
        if isinstance(each, ast.Call)
        and isinstance(each.func, ast.Attribute)
        and each.func.attr == "topic"
        and each.lineno <= line <= (each.end_lineno or each.lineno)
    ]
    if len(calls) != 1 or any(calls[0] in ast.walk(body) for body in _bodies(statement.node)):
        return None
    return calls[0]


def _bodies(node: ast.AST) -> Iterable[ast.AST]:
    """The statements inside functions and classes: not executed as the module is, or not seen."""
    for each in ast.walk(node):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from each.body
        elif isinstance(each, ast.Lambda):
            yield each.body


def _fingerprint(program: Program, name: str, declaration: _Declaration) -> Fingerprint:
    statement, call = declaration.statement, declaration.call
    around = _statements_around(program, name, declaration)
    uses = {use for each in around for use in program.uses_of(each)}
    digests = [each.digest for each in around]
    on_processes = any(mentions_processes(each.node) for each in around)
    if call is None:
        uses |= program.uses_of(statement)
        parts = program.parts(uses)
        digest = _together(parts, [statement.digest, *digests])
        options = {"": digest}
    else:
        rest = replaced(statement.node, call, ast.Constant(f"topic {name}"))
        module = statement.module
        # What a statement of several topics does for this one can't be told from the rest.
        own = program.uses_in(module, rest, references(rest)) | uses
        parts = program.parts(own)
        digest = _together(parts, [digest_of_tree(rest), *digests])
        options = {each.arg or "": _of_option(program, module, each) for each in call.keywords}
    return Fingerprint(
        options,
        digest,
        frozenset(parts.topics - {name}),
        parts.on_processes or on_processes or mentions_processes(statement.node),
    )


def _of_option(program: Program, module: str, option: ast.keyword) -> str:
    uses = [Use(module, ref) for ref in references(option.value)]
    return _together(program.parts(uses), [digest_of_tree(option.value)])


def _together(parts: Parts, own: Iterable[str]) -> str:
    return digest_of(f"{' '.join(own)} {parts.digest}")


def _statements_around(program: Program, name: str, declaration: _Declaration) -> list[Statement]:
    """The statements elsewhere that make the topic what it is.

    Those that give it its function later (``topic(function)``), and, where it is declared inside a
    function, those that lead to its being called.
    """
    around = [each for each in program.statements if _calls_topic(program, name, each)]
    if declaration.call is None and declaration.statement.is_definition:
        around += _callers(program, declaration.statement)
    return [each for each in around if each is not declaration.statement]


def _calls_topic(program: Program, name: str, statement: Statement) -> bool:
    """Whether a statement calls the topic itself, as a function or as a decorator."""
    called = [each.func for each in ast.walk(statement.node) if isinstance(each, ast.Call)]
    refs = map(dotted, [*called, *decorators_of(statement.node)])
    return any(program.named_topic(Use(statement.module, ref)) == name for ref in refs if ref)


def _callers(program: Program, definition: Statement) -> list[Statement]:
    """The statements that use a definition, and those that use these, to the end."""
    found: list[Statement] = []
    pending = [definition]
    while pending:
        reached = pending.pop()
        names = {(reached.module, bound) for bound in reached.binds}
        for statement in program.statements:
            if statement not in found and statement is not definition:
                used = program.definitions(statement.module, statement.refs)
                if used & names:
                    found.append(statement)
                    pending.append(statement)
    return found


# The server


def _of_server(program: Program) -> dict[str, str]:
    """Digests of what a running server can't change: its options, its lifespan, its routes."""
    found: dict[str, list[str]] = defaultdict(list)
    for statement in program.statements:
        bound = {(statement.module, name) for name in statement.binds}
        if bound & program.servers and not statement.is_import:
            for option, digest in _server_options(program, statement):
                found[option].append(digest)
    for part, attribute in (("lifespan", "lifespan"), ("routes", "app")):
        for statement in _that_use(program, attribute):
            parts = program.parts(program.uses_of(statement))
            found[part].append(_together(parts, [statement.digest]))
    return {part: digest_of(" ".join(sorted(digests))) for part, digests in found.items()}


def _that_use(program: Program, attribute: str) -> list[Statement]:
    """The statements that use an attribute of the server, by another name of it, too."""
    names = program.servers
    found: dict[Statement, None] = {}
    for _ in range(3):  # app = server.app; api = app
        for statement in program.statements:
            for ref in statement.executed:
                direct = program.is_server(Use(statement.module, ref)) and attribute in ref[1:]
                if direct or program.definitions(statement.module, [ref]) & (
                    names - program.servers
                ):
                    found[statement] = None
        aliases = [each for each in found if not each.is_definition]
        names = names | {(each.module, name) for each in aliases for name in each.binds}
    return list(found)


def _server_options(program: Program, statement: Statement) -> Iterable[tuple[str, str]]:
    made: object = getattr(statement.node, "value", None)
    if not isinstance(made, ast.Call) or not made.keywords:
        yield "the server", statement.digest
        return
    for option in made.keywords:
        digest = _of_option(program, statement.module, option)
        yield (f"{option.arg}=" if option.arg else "the server's options"), digest
