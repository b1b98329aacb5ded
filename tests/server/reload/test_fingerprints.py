"""A topic's fingerprint changes with what the topic is made of, and with nothing else."""

import ast
from collections.abc import Iterable
from textwrap import dedent

import pytest

from penstock_server.reload.fingerprints import (
    Declarations,
    Fingerprints,
    Place,
    take_fingerprints,
)
from penstock_server.reload.modules import Source

MAIN = """
    from penstock import every
    from penstock_server import Server, Limits
    import helpers
    from helpers import scale

    server = Server("bench", limits=Limits(max_connections=5))

    FACTOR = 2
    UNUSED = 0

    class Note:
        text: str

    notes = server.topic("notes", accepts=Note, retain=10)

    @server.topic("double")
    def double():
        return every(1).map(twice)

    def twice(number):
        return number * FACTOR

    @server.topic("scaled", retain=5)
    def scaled():
        return every(1).map(scale)

    @server.topic("offset")
    def offset():
        return every(1).map(helpers.shift)

    @server.topic("loud")
    def loud():
        return notes.values().map(lambda note: note.text.upper())

    @server.topic("mean")
    def mean():
        return double.values().batch(2)
"""

HELPERS = '''
    """Numbers."""

    OFFSET = 1

    def shift(number):
        return number + OFFSET

    def scale(number):
        """Scale it."""
        return number * 10
'''

ALL = {"notes", "double", "scaled", "offset", "loud", "mean"}


def fingerprints(main: str, **others: str) -> Fingerprints:
    """Those of a program; its topics are what its text says, as loading it would find."""
    sources = {
        name.replace("__", "."): Source(f"/app/{name}.py", dedent(text), name.endswith("package"))
        for name, text in {"main": main, **others}.items()
    }
    places: dict[str, Place | None] = {}
    names: dict[tuple[str, str], str] = {}
    for module, source in sources.items():
        tree = ast.parse(source.text)
        for node in ast.walk(tree):
            if is_topic_call(node):
                assert isinstance(node, ast.Call)
                for topic in topics_of(node):
                    places[topic] = Place(source.path, node.lineno)
        for statement in tree.body:
            for variable, topic in named_topics(statement):
                names[module, variable] = topic
    return take_fingerprints(sources, Declarations(places, names, frozenset({("main", "server")})))


def is_topic_call(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="topic")):
            return True
        case _:
            return False


def topics_of(call: ast.Call) -> Iterable[str]:
    match call.args[0]:
        case ast.Constant(value=str(name)):
            yield name
        case _:  # made in a loop, or in a function
            yield from ("made.1", "made.2")


def named_topics(statement: ast.stmt) -> Iterable[tuple[str, str]]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call):
            if is_topic_call(call):
                yield name, next(iter(topics_of(call)))
        case ast.FunctionDef(name=name, decorator_list=[ast.Call() as call, *_]):
            if is_topic_call(call):
                yield name, next(iter(topics_of(call)))
        case _:
            pass


def changed(before: Fingerprints, after: Fingerprints) -> set[str]:
    """The topics whose pipelines are made of something else."""
    assert before.topics.keys() == after.topics.keys()
    return {
        name
        for name in before.topics
        if before.topics[name].pipeline != after.topics[name].pipeline
    }


def options_changed(before: Fingerprints, after: Fingerprints) -> set[str]:
    return {
        name for name in before.topics if before.topics[name].options != after.topics[name].options
    }


def after_edit(
    old: str, new: str, main: str = MAIN, helpers: str = HELPERS
) -> tuple[Fingerprints, Fingerprints]:
    """The fingerprints before and after replacing a text wherever it is."""
    assert old in main or old in helpers
    before = fingerprints(main, helpers=helpers)
    return before, fingerprints(main.replace(old, new), helpers=helpers.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("FACTOR = 2", "# a comment\n\n    FACTOR = 2  # another"),
        ("FACTOR = 2", "FACTOR  =  (2)"),
        ('"""Scale it."""', '"""Multiply it."""'),
        ('"""Scale it."""', "..."),
        ('"""Numbers."""', ""),
        ("UNUSED = 0", "UNUSED = 1"),
        ("UNUSED = 0", ""),
        ("UNUSED = 0", "import json"),
        ("import every", "import every, merge"),
        ("import helpers", "import json, helpers"),
        ("UNUSED = 0", "def unused():\n        return FACTOR"),
        ("UNUSED = 0", "print(UNKNOWN)"),
    ],
)
def test_what_no_topic_uses_changes_none(old: str, new: str) -> None:
    before, after = after_edit(old, new)
    assert before == after


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("every(1).map(twice)", "every(2).map(twice)", {"double"}),
        ("FACTOR = 2", "FACTOR = 3", {"double"}),
        ("FACTOR", "MULTIPLIER", {"double"}),
        ("number * FACTOR", "number * FACTOR * 1", {"double"}),
        ("number * 10", "number * 11", {"scaled"}),
        ("OFFSET = 1", "OFFSET = 2", {"offset"}),
        ("number + OFFSET", "OFFSET + number", {"offset"}),
        (".batch(2)", ".batch(3)", {"mean"}),
        ("text: str", "text: bytes", {"loud"}),
        ("from penstock import every", "from mine import every", ALL - {"notes", "loud", "mean"}),
        ("from helpers import scale", "from others import scale", {"scaled"}),
        ("FACTOR = 2", "FACTOR = 2\n    FACTOR = 3", {"double"}),
        ("FACTOR = 2", "FACTOR = 2\n    FACTOR += 3", {"double"}),
    ],
)
def test_a_change_concerns_exactly_the_topics_that_use_it(
    old: str, new: str, expected: set[str]
) -> None:
    assert changed(*after_edit(old, new)) == expected


def test_moving_code_about_changes_nothing() -> None:
    lines = dedent(MAIN)
    moved = "def twice(number):\n    return number * FACTOR\n"
    assert moved in lines
    elsewhere = lines.replace(moved, "").replace("UNUSED = 0", f"UNUSED = 0\n\n{moved}")
    before = fingerprints(lines, helpers=HELPERS)
    assert fingerprints(elsewhere, helpers=HELPERS) == before


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("retain=10", "retain=11", {"notes"}),
        ("text: str", "text: bytes", {"notes"}),
        ('topic("double")', 'topic("double", retain=3)', {"double"}),
        ("FACTOR = 2", "FACTOR = 3", set[str]()),
    ],
)
def test_options_are_told_from_the_pipeline(old: str, new: str, expected: set[str]) -> None:
    assert options_changed(*after_edit(old, new)) == expected


def test_options_that_readers_do_not_see_restart_no_pipeline() -> None:
    before, after = after_edit("retain=10", "retain=11, slow='block', key='text'")
    assert changed(before, after) == set()


def test_what_a_topic_accepts_concerns_those_that_read_it() -> None:
    before, after = after_edit("accepts=Note", "accepts=str")
    assert changed(before, after) == {"loud"}


def test_a_topic_knows_what_it_reads() -> None:
    found = fingerprints(MAIN, helpers=HELPERS)
    reads = {name: set(each.reads) for name, each in found.topics.items()}
    assert reads == {**{name: set[str]() for name in ALL}, "loud": {"notes"}, "mean": {"double"}}


def test_a_topic_that_is_looked_into_is_part_of_the_one_that_does() -> None:
    main = MAIN.replace("double.values()", "double.build()")
    assert changed(*after_edit("FACTOR = 2", "FACTOR = 3", main)) == {"double", "mean"}


LOOP = """
    server = Server()
    RATES = {"a": 1, "b": 2}
    OTHER = 1

    for name, rate in RATES.items():
        @server.topic(f"made.{name}", retain=10)
        def pipeline(rate=rate):
            return every(rate)

    @server.topic("plain")
    def plain():
        return every(OTHER)
"""
MADE = {"made.1", "made.2"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"a": 1', '"a": 3', MADE),
        ("every(rate)", "every(rate * 2)", MADE),
        ("OTHER = 1", "OTHER = 2", {"plain"}),
        ("retain=10", "retain=11", MADE),
    ],
)
def test_topics_made_in_a_loop_change_together(old: str, new: str, expected: set[str]) -> None:
    assert changed(*after_edit(old, new, LOOP)) == expected


def test_options_of_topics_made_in_a_loop() -> None:
    assert options_changed(*after_edit("retain=10", "retain=11", LOOP)) == MADE


FACTORY = """
    from helpers import add

    server = Server()
    add(server, "a", 1)

    @server.topic("plain")
    def plain():
        return every(1)
"""
FACTORY_HELPERS = """
    PERIOD = 1

    def add(server, name, rate):
        @server.topic(name)
        def pipeline():
            return every(rate * PERIOD)
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"a", 1', '"a", 2', MADE),
        ("PERIOD = 1", "PERIOD = 2", MADE),
        ("rate * PERIOD", "rate", MADE),
        ("return every(1)", "return every(2)", {"plain"}),
    ],
)
def test_topics_made_by_a_function_change_with_its_callers(
    old: str, new: str, expected: set[str]
) -> None:
    edited = after_edit(old, new, FACTORY, FACTORY_HELPERS)
    assert changed(*edited) == options_changed(*edited) | ({"plain"} & expected) == expected


def test_a_function_given_later_is_part_of_the_topic() -> None:
    main = """
        server = Server()
        a = server.topic("a")
        b = server.topic("b")
        a(make(1))
        b(make(2))

        def make(n):
            return lambda: every(n)
    """
    assert changed(*after_edit("make(1)", "make(3)", main)) == {"a"}
    assert changed(*after_edit("every(n)", "every(n + 1)", main)) == {"a", "b"}


def test_decorators_are_part_of_what_they_decorate() -> None:
    main = """
        server = Server()

        def cached(function):
            return function

        @server.topic("a")
        @cached
        def a():
            return every(1).map(step)

        @cached
        def step(n):
            return n

        @server.topic("b")
        def b():
            return every(1)
    """
    assert changed(*after_edit("return function", "return wrap(function)", main)) == {"a"}
    assert changed(*after_edit("@cached\n        def step", "def step", main)) == {"a"}


REGISTRY = """
    from helpers import register, HANDLERS

    server = Server()

    @register("up")
    def up(text):
        return text.upper()

    def unregistered(text):
        return text

    @server.topic("a")
    def a():
        return every(1).map(lambda n: HANDLERS["up"](n))

    @server.topic("b")
    def b():
        return every(1)
"""
REGISTRY_HELPERS = """
    HANDLERS = {}

    def register(name):
        def keep(function):
            HANDLERS[name] = function
            return function
        return keep
"""


def test_what_is_registered_in_a_table_is_part_of_the_table() -> None:
    edited = after_edit("text.upper()", "text.lower()", REGISTRY, REGISTRY_HELPERS)
    assert changed(*edited) == {"a"}
    edited = after_edit("return text\n", "return text + 'x'\n", REGISTRY, REGISTRY_HELPERS)
    assert changed(*edited) == set()


@pytest.mark.parametrize(
    "change",
    [
        "TABLE['x'] = 1",
        "TABLE.update(x=1)",
        "TABLE |= {}",
        "fill(TABLE)",
        "for key in 'ab':\n            TABLE[key] = 1",
        "def fill_it():\n            global TABLE\n            TABLE = 1",
        "if True:\n            TABLE.clear()",
    ],
)
def test_what_changes_an_object_is_part_of_it(change: str) -> None:
    main = """
        server = Server()
        TABLE = {}
        # here

        @server.topic("a")
        def a():
            return every(1).map(TABLE.get)

        @server.topic("b")
        def b():
            return every(1)
    """
    assert changed(*after_edit("# here", change, main)) == {"a"}


def test_a_local_name_hides_the_global_one() -> None:
    main = """
        server = Server()
        n = 1
        text = "a"

        @server.topic("a")
        def a():
            def inner(text):
                for n in text:
                    yield n
            return every(1).map(inner).map(lambda n: [text for text in n])
    """
    assert changed(*after_edit("n = 1", "n = 2", main)) == set()
    assert changed(*after_edit('text = "a"', 'text = "b"', main)) == set()


@pytest.mark.parametrize(
    "body",
    [
        "globals()['HIDDEN']",
        "eval('HIDDEN')",
        "importlib.import_module('helpers').OFFSET",
        "__import__('helpers').OFFSET",
        "__import__('helpers')",
    ],
)
def test_what_cannot_be_seen_through_counts_as_used(body: str) -> None:
    main = f"""
        import importlib
        server = Server()
        HIDDEN = 1

        @server.topic("a")
        def a():
            return every({body})
    """
    old, new = ("OFFSET = 1", "OFFSET = 2") if "helpers" in body else ("HIDDEN = 1", "HIDDEN = 2")
    assert changed(*after_edit(old, new, main)) == {"a"}


@pytest.mark.parametrize(
    ("imports", "use", "expected"),
    [
        ("import helpers as h", "h.shift", {"a"}),
        ("from helpers import shift as s", "s", {"a"}),
        ("from helpers import *", "shift", {"a"}),
        ("import helpers", "helpers", {"a"}),
        ("import helpers", "getattr(helpers, 'shift')", {"a"}),
        ("import helpers", "helpers.scale", set[str]()),
        ("from helpers import *", "scale", set[str]()),
        ("try:\n            import helpers as h\n        except ImportError:\n            h = 1",
         "h.shift", {"a"}),
        ("", "late", {"a"}),
    ],
)  # fmt: skip
def test_names_of_other_modules_are_followed(imports: str, use: str, expected: set[str]) -> None:
    main = f"""
        {imports}
        server = Server()

        def late(n):
            from helpers import shift
            return shift(n)

        @server.topic("a")
        def a():
            return every(1).map({use})
    """
    assert changed(*after_edit("OFFSET = 1", "OFFSET = 2", main)) == expected


def test_modules_in_packages_are_followed() -> None:
    main = """
        import lib.tables
        server = Server()

        @server.topic("a")
        def a():
            return every(lib.tables.PERIOD)

        @server.topic("b")
        def b():
            return every(1)
    """
    others = {
        "lib__tables": "from .more import PERIOD, OTHER",
        "lib__more": "PERIOD = 1\nOTHER = 1",
    }

    def taken(more: str) -> Fingerprints:
        sources = {
            "main": Source("/app/main.py", dedent(main)),
            "lib": Source("/app/lib/__init__.py", "", is_package=True),
            "lib.tables": Source("/app/lib/tables.py", others["lib__tables"]),
            "lib.more": Source("/app/lib/more.py", more),
        }
        places = {"a": Place("/app/main.py", 5), "b": Place("/app/main.py", 9)}
        names = {("main", "a"): "a", ("main", "b"): "b"}
        declared = Declarations(places, names, frozenset({("main", "server")}))
        return take_fingerprints(sources, declared)

    before = taken("PERIOD = 1\nOTHER = 1")
    assert changed(before, taken("PERIOD = 2\nOTHER = 1")) == {"a"}
    assert changed(before, taken("PERIOD = 1\nOTHER = 2")) == set()


def test_a_template_is_a_topic_like_any_other() -> None:
    main = """
        server = Server()
        GREETING = "hello"

        @server.topic("room.{room}", accepts=str, idle=60)
        def room(room):
            return every(1).map(lambda _: GREETING + room)

        @server.topic("lobby")
        def lobby():
            return room.instance(room="lobby").values()
    """
    assert changed(*after_edit('"hello"', '"hi"', main)) == {"room.{room}"}
    assert changed(*after_edit("accepts=str", "accepts=int", main)) == {"lobby"}
    assert options_changed(*after_edit("idle=60", "idle=6", main)) == {"room.{room}"}


def test_circles_come_to_an_end() -> None:
    main = """
        from helpers import even
        server = Server()

        def odd(n):
            return n != 0 and even(n - 1)

        @server.topic("a")
        def a():
            return every(1).filter(odd)
    """
    helpers = """
        from main import odd

        def even(n):
            return n == 0 or odd(n - 1)
    """
    assert changed(*after_edit("n == 0", "n <= 0", main, helpers)) == {"a"}


def test_a_topic_from_elsewhere_changes_with_everything() -> None:
    def taken(text: str) -> Fingerprints:
        sources = {"main": Source("/app/main.py", text)}
        declared = Declarations({"a": None, "b": Place("/lib/b.py", 1)}, {}, frozenset())
        return take_fingerprints(sources, declared)

    assert changed(taken("x = 1"), taken("x = 2")) == {"a", "b"}
    assert changed(taken("x = 1"), taken("x = 1  # one")) == set()


def test_functions_for_worker_processes_are_noticed() -> None:
    main = MAIN.replace(".map(twice)", ".map_blocking(twice, on='process')")
    found = fingerprints(main, helpers=HELPERS)
    assert {name for name, each in found.topics.items() if each.on_processes} == {"double"}


SERVER = """
    from penstock_server import Server, Limits
    MOST = 5
    server = Server("bench", limits=Limits(max_connections=MOST), cors=["https://a.example"])
    app = server.app

    @server.lifespan
    async def life():
        yield connect()

    def connect():
        return 1

    @server.app.get("/direct")
    async def direct():
        return "direct"

    @app.get("/alias")
    async def alias():
        return "alias"

    @server.topic("a")
    def a():
        return every(1)
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("MOST = 5", "MOST = 6", {"limits="}),
        ("https://a.example", "https://b.example", {"cors="}),
        ("return 1", "return 2", {"lifespan"}),
        ('return "direct"', 'return "Direct"', {"routes"}),
        ('return "alias"', 'return "Alias"', {"routes"}),
        ("every(1)", "every(2)", set[str]()),
        ('    @app.get("/alias")', "    # not here", {"routes"}),
    ],
)
def test_what_a_running_server_cannot_change_is_told_apart(
    old: str, new: str, expected: set[str]
) -> None:
    before, after = after_edit(old, new, SERVER)
    parts = before.server.keys() | after.server.keys()
    assert {part for part in parts if before.server.get(part) != after.server.get(part)} == expected
    assert changed(before, after) == ({"a"} if "every" in old else set())


def test_a_file_that_is_no_python_is_refused() -> None:
    with pytest.raises(SyntaxError):
        take_fingerprints({"main": Source("/main.py", "def")}, Declarations({}, {}, frozenset()))
