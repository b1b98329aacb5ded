"""Which names a piece of code reads, binds and changes. Pure; works on the syntax alone.

Where the syntax can't tell, a name counts as read: a topic is then restarted once too often rather
than not at all.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TypeAlias, TypeGuard

Ref: TypeAlias = tuple[str, ...]
"""A name and the attributes that are asked of it: ``helpers.tables.SIZE``."""

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_CHANGING = frozenset({"add", "append", "appendleft", "clear", "discard", "extend", "insert"}) | {
    *("pop", "popitem", "put", "register", "remove", "reverse", "setdefault", "sort", "update")
}


def references(node: ast.AST) -> frozenset[Ref]:
    """The dotted names that `node` reads and that are no local names of functions in it."""
    found: set[Ref] = set()
    _collect(node, frozenset(), found)
    return frozenset(found)


def executed_references(node: ast.AST) -> frozenset[Ref]:
    """Those of them that are read when the statement is executed, not when functions in it are."""
    found: set[Ref] = set()
    _collect(node, frozenset(), found, into_functions=False)
    return frozenset(found)


def dotted(node: ast.AST) -> Ref | None:
    """``a.b.c`` as a tuple; None for anything but names and attributes of names."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else None


def bound_names(body: Iterable[ast.AST]) -> frozenset[str]:
    """The names that statements bind in the scope that they stand in."""
    return frozenset(name for node in body for name in _bound_by(node))


def global_names(node: ast.AST) -> frozenset[str]:
    """The names that functions in it declare ``global``, and so bind in the module."""
    return frozenset(
        name for each in ast.walk(node) if isinstance(each, ast.Global) for name in each.names
    )


def changed_objects(node: ast.AST) -> frozenset[Ref]:
    """What it changes in place: ``TABLE[k] = v``, ``config.rate = 2``, ``LIST.append(x)``.

    Methods count by their names, of which there are a few that change things. Local names of
    functions are among what is found, too.
    """
    changed: set[Ref] = {(name,) for name in global_names(node)}
    for each in ast.walk(node):
        target: ast.AST | None = None
        if isinstance(each, ast.Subscript | ast.Attribute) and not isinstance(each.ctx, ast.Load):
            target = each.value
        elif isinstance(each, ast.AugAssign):
            target = each.target
        elif isinstance(each, ast.Call) and _changes_its_object(each.func):
            target = each.func.value
        path = None if target is None else _object(target)
        if path is not None:
            changed.add(path)
    return frozenset(changed)


def _changes_its_object(function: ast.expr) -> TypeGuard[ast.Attribute]:
    return isinstance(function, ast.Attribute) and function.attr in _CHANGING


def _object(node: ast.AST) -> Ref | None:
    """The dotted name at the root of ``TABLE[k].rows.setdefault(n, [])``; None where none is."""
    path = dotted(node)
    while path is None and isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
        path = dotted(node)
    return path


def decorators_of(node: ast.AST) -> list[ast.expr]:
    """The decorators of a definition; none of anything else."""
    return node.decorator_list if isinstance(node, (*_FUNCTIONS, ast.ClassDef)) else []


def imports_in(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports in it, at any depth."""
    return (each for each in ast.walk(node) if isinstance(each, ast.Import | ast.ImportFrom))


def _collect(
    node: ast.AST, local: frozenset[str], found: set[Ref], *, into_functions: bool = True
) -> None:
    def go_on(nodes: Iterable[ast.AST | None], names: frozenset[str] = local) -> None:
        for each in nodes:
            if each is not None:
                _collect(each, names, found, into_functions=into_functions)

    path = dotted(node)
    if path is not None:
        # A name that is only bound is not read; what is written to `a.b` reads `a`.
        if path[0] not in local and not _is_binding(node):
            found.add(path)
    elif isinstance(node, (*_FUNCTIONS, ast.Lambda)):
        go_on(_evaluated_outside(node))
        if into_functions:
            body = node.body if isinstance(node.body, list) else [node.body]
            go_on(body, local | _local_names(node, body))
    elif isinstance(node, _COMPREHENSIONS):
        targets = bound_names(each.target for each in node.generators)
        go_on(ast.iter_child_nodes(node), local | targets)
    elif isinstance(node, ast.AugAssign):
        target = _object(node.target)
        if target is not None and target[0] not in local:
            found.add(target)
        go_on(ast.iter_child_nodes(node))
    else:
        go_on(ast.iter_child_nodes(node))


def _is_binding(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)


def _evaluated_outside(function: FunctionNode | ast.Lambda) -> Iterator[ast.AST | None]:
    """What a function's definition evaluates where it stands: decorators, defaults, annotations."""
    arguments = function.args
    yield from (*arguments.defaults, *arguments.kw_defaults)
    if not isinstance(function, ast.Lambda):
        yield from (*function.decorator_list, function.returns)
        yield from (argument.annotation for argument in _arguments(arguments))


def _local_names(function: FunctionNode | ast.Lambda, body: Iterable[ast.AST]) -> frozenset[str]:
    body = list(body)
    arguments = {argument.arg for argument in _arguments(function.args)}
    declared = frozenset[str]().union(*map(_declared_elsewhere, body))
    return (bound_names(body) | arguments) - declared


def _declared_elsewhere(node: ast.AST) -> frozenset[str]:
    """Names that are ``global`` or ``nonlocal``; of functions within as well, which is harmless."""
    return frozenset(
        name
        for each in ast.walk(node)
        if isinstance(each, ast.Global | ast.Nonlocal)
        for name in each.names
    )


def _arguments(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    yield from (each for each in (arguments.vararg, arguments.kwarg) if each is not None)


def _bound_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(ctx=ast.Store() | ast.Del()):
            yield node.id
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
            return  # what is bound within is its own
        case ast.Lambda():
            return
        case ast.Import() | ast.ImportFrom():
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
            return
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
            yield name
        case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            yield name
        case _ if isinstance(node, _COMPREHENSIONS):
            walrus = (each for each in ast.walk(node) if isinstance(each, ast.NamedExpr))
            yield from (each.target.id for each in walrus)
            return
        case _:
            pass
    for child in ast.iter_child_nodes(node):
        yield from _bound_by(child)
