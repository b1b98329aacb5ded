"""A module as its top-level statements: what each binds, changes and reads. Pure.

A statement's digest is that of its syntax tree, so positions, comments, docstrings and the way it
is laid out don't matter. Each name of an import is a statement of its own: one more name on the
line changes nothing for those who use the others.
"""

from __future__ import annotations

import ast
import copy
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TypeAlias, cast

from .references import (
    Ref,
    bound_names,
    changed_objects,
    decorators_of,
    executed_references,
    global_names,
    imports_in,
    references,
)

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class Source:
    """A module's text.

    Attributes:
        path: its file, as code objects name it.
        text: what is in it.
        is_package: whether it is the ``__init__.py`` of a package.
    """

    path: str
    text: str
    is_package: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """What a name that was imported stands for: a module, or a name in it; ``*`` for all names."""

    module: str
    name: str | None = None


@dataclass(frozen=True)
class Statement:
    """A top-level statement, or one name of an import.

    Attributes:
        module: the name of the module it stands in.
        node: its syntax tree.
        digest: of that tree.
        imports: for each name that an import in it binds, what it stands for.
    """

    module: str
    node: ast.stmt
    digest: str
    imports: tuple[tuple[str, Imported], ...] = ()

    @cached_property
    def binds(self) -> frozenset[str]:
        """The names that it binds in the module."""
        if self.is_import:
            return frozenset(name for name, _ in self.imports)
        return bound_names([self.node]) | global_names(self.node)

    @cached_property
    def refs(self) -> frozenset[Ref]:
        """The names that it reads, or that functions in it will."""
        return frozenset() if self.is_import else references(self.node)

    @cached_property
    def executed(self) -> frozenset[Ref]:
        """The names that it reads when the module is executed."""
        return frozenset() if self.is_import else executed_references(self.node)

    @cached_property
    def changes(self) -> frozenset[Ref]:
        """What it changes in place, or functions in it will."""
        return frozenset() if self.is_import else changed_objects(self.node)

    @property
    def is_definition(self) -> bool:
        """Whether it defines a function or a class, and executes little of its own."""
        return isinstance(self.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)

    @property
    def is_bare(self) -> bool:
        """Whether it is an expression, evaluated for what it does to others."""
        return isinstance(self.node, ast.Expr)

    @property
    def is_import(self) -> bool:
        """Whether it is one name of an import."""
        return isinstance(self.node, ast.Import | ast.ImportFrom)

    def holds(self, line: int) -> bool:
        """Whether that line of the file is in it; decorators are."""
        first = min([self.node.lineno, *(each.lineno for each in decorators_of(self.node))])
        return first <= line <= (self.node.end_lineno or self.node.lineno)


Statements: TypeAlias = tuple[Statement, ...]


class Module:
    """A module's statements, and which of them bind a name. Raises `SyntaxError`."""

    def __init__(self, name: str, source: Source) -> None:
        self.name = name
        self.path = source.path
        self._package = name if source.is_package else name.rpartition(".")[0]
        tree = without_docstrings(ast.parse(source.text))
        self.statements: Statements = tuple(
            statement for node in tree.body for statement in self._statements_of(node)
        )
        self._binding: dict[str, list[Statement]] = defaultdict(list)
        for statement in self.statements:
            for bound in statement.binds:
                self._binding[bound].append(statement)

    def binding(self, name: str) -> list[Statement]:
        """The statements that bind a name, in their order; star imports where no other does."""
        return self._binding.get(name) or self._binding.get("*", [])

    def at(self, line: int) -> Statement | None:
        """The statement that holds a line."""
        return next((each for each in self.statements if each.holds(line)), None)

    @property
    def imported(self) -> frozenset[str]:
        """Every module that an import anywhere in it may load."""
        targets = [target for each in self.statements for _, target in each.imports]
        names = {f"{each.module}.{each.name}" for each in targets if each.name is not None}
        # `import a.b` binds a, and loads both.
        inner = {
            alias.name
            for statement in self.statements
            for node in imports_in(statement.node)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        return frozenset(names | inner | {each.module for each in targets})

    def imports_within(self, node: ast.AST) -> list[Imported]:
        """What the imports in a piece of this module's code stand for."""
        return [target for each in imports_in(node) for _, target in self._targets(each)]

    def _statements_of(self, node: ast.stmt) -> list[Statement]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            return [
                Statement(self.name, node, digest_of(f"{bound} {target}"), ((bound, target),))
                for bound, target in self._targets(node)
            ]
        within = tuple(pair for each in imports_in(node) for pair in self._targets(each))
        return [Statement(self.name, node, digest_of_tree(node), within)]

    def _targets(self, node: ast.Import | ast.ImportFrom) -> list[tuple[str, Imported]]:
        if isinstance(node, ast.Import):
            return [
                (alias.asname, Imported(alias.name))
                if alias.asname
                else (alias.name.partition(".")[0], Imported(alias.name.partition(".")[0]))
                for alias in node.names
            ]
        module = self._absolute(node)
        return [(alias.asname or alias.name, Imported(module, alias.name)) for alias in node.names]

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self._package.split(".")
        package = ".".join(parts[: len(parts) - node.level + 1])
        return f"{package}.{node.module}" if node.module else package


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The tree with the docstrings taken out, in place."""
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                del node.body[0]
    return tree


def digest_of_tree(node: ast.AST) -> str:
    """A digest of a syntax tree that knows no positions."""
    return digest_of(ast.dump(node, annotate_fields=False))


def digest_of(text: str) -> str:
    """A digest of a text."""
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


def replaced(tree: ast.stmt, part: ast.AST, by: ast.expr) -> ast.stmt:
    """A copy of a statement in which one part, an expression, is another one."""

    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return by if node is twin else self.generic_visit(node)

    memo: dict[int, ast.AST] = {}
    twin_tree = copy.deepcopy(tree, memo)
    twin = memo[id(part)]
    return cast("ast.stmt", Replace().visit(twin_tree))
