"""Config files: what a loaded file holds, under which name it is imported, and what is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import penstock as ps
from penstock.config import ConfigError, Target, load, parse_target

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _imports_undone() -> Iterator[None]:
    path, modules = sys.path.copy(), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "pipelines_under_test.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


SERVER = """
class Server:
    def __init__(self, *named):
        self.named = named
    def named_pipelines(self):
        return [(f.__name__, f) for f in self.named]
"""


# What the command line names


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("pipelines.py", Target("pipelines.py")),
        ("pipelines.py:errors", Target("pipelines.py", "errors")),
        ("a:b/pipelines.py", Target("a:b/pipelines.py")),
        ("pipelines.py:room.{room}", Target("pipelines.py", "room.{room}")),
        ("C:\\pipelines.py", Target("C:\\pipelines.py")),
        ("C:\\pipelines.py:errors", Target("C:\\pipelines.py", "errors")),
        ("pipelines.py:", Target("pipelines.py")),
    ],
)
def test_target(text: str, target: Target) -> None:
    assert parse_target(text) == target


# What is in a file


def test_pipelines_come_in_order_once_and_without_the_private_ones(write: Write) -> None:
    config = load(
        write(
            """
import penstock as ps
numbers = ps.from_iterable([1])
_own = numbers.to(ps.drain())
second = numbers.to(ps.count())
first = numbers.to(ps.collect())
again = second
"""
        )
    )
    assert list(config.pipelines) == ["second", "first"]
    assert list(config.streams) == ["numbers"]
    assert ps.run(config.pipelines["first"]) == [1]


def test_servers_are_objects_that_offer_pipelines_not_their_class(write: Write) -> None:
    config = load(write(f"{SERVER}\ndef cpu(): ...\nserver = Server(cpu)\n"))
    assert list(config.servers) == ["server"]
    assert [name for name, _ in config.topics()] == ["cpu"]


def test_find_takes_the_only_one_or_the_named_one(write: Write) -> None:
    one = "import penstock as ps\na = ps.from_iterable([1]).to(ps.count())\n"
    config = load(write(one))
    assert config.find(ps.Pipeline) is config.find(ps.Pipeline, "a") is config.module.a
    two = load(write(one + "b = ps.from_iterable([1]).to(ps.count())\n"))
    with pytest.raises(ConfigError, match=r"2 of Pipeline in it: a, b; say which, as in \S+:a$"):
        two.find(ps.Pipeline)
    assert two.find(ps.Pipeline, "b") is two.module.b


# Under which name a file is imported


def test_the_module_can_be_imported_by_its_name_by_itself_and_by_others(write: Write) -> None:
    write("VALUE = 7\n", "neighbour.py")
    path = write(
        "import sys, neighbour\n"
        "registered = sys.modules[__name__].__name__\n"
        "value = neighbour.VALUE\n"
    )
    config = load(path)
    assert config.module.registered == config.module.__name__ == "pipelines_under_test"
    assert config.module.value == 7
    assert sys.path[0] == str(path.parent)


def test_loading_again_imports_anew(write: Write) -> None:
    path = write("value = 1\n")
    assert load(path).module.value == 1
    write("value = 1 + 1\n")
    assert load(path).module.value == 2


DOUBLED = """
import {standard}
assert {standard}.{attribute}
import penstock as ps
def double(x): return 2 * x
doubled = ps.from_iterable([1, 2]).map_blocking(double, 1, on="process").to(ps.collect())
"""


@pytest.mark.parametrize(
    ("name", "standard", "attribute"),
    [("plain.py", "json", "dumps"), ("json.py", "json", "dumps"), ("rich.py", "rich", "print")],
)
def test_functions_run_in_worker_processes_even_where_the_stem_is_taken(
    write: Write, name: str, standard: str, attribute: str
) -> None:
    path = write(DOUBLED.format(standard=standard, attribute=attribute), f"house/{name}")
    script = (
        "import sys, penstock as ps; from penstock.config import load\n"
        "if __name__ == '__main__': print(ps.run(load(sys.argv[1]).pipelines['doubled']))\n"
    )
    runner = write(script, "runner.py")
    done = subprocess.run(
        [sys.executable, runner, path], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[2, 4]\n", "")


def test_two_files_of_one_name_are_two_modules(write: Write) -> None:
    first = load(write("value = 1\n", "one/pipelines_under_test.py"))
    second = load(write("value = 2\n", "two/pipelines_under_test.py"))
    assert [first.module.value, second.module.value] == [1, 2]
    assert second.module.__name__ == "two.pipelines_under_test"
    assert sys.modules[second.module.__name__] is second.module


def test_a_name_that_can_not_be_imported_is_refused(write: Write) -> None:
    taken = write("", "email/json.py")  # the folder's name is taken, too
    with pytest.raises(ConfigError, match=r":1: it can't be imported: the name json is taken by"):
        load(taken)
    with pytest.raises(ConfigError, match=r"a module's name has no dot; give the file another"):
        load(write("", "a.b.py"))


def test_a_file_that_fails_leaves_no_module_and_no_path(write: Write) -> None:
    path, before = write("1 / 0\n"), sys.path.copy()
    with pytest.raises(ConfigError):
        load(path)
    assert sys.path == before
    assert "pipelines_under_test" not in sys.modules


# What is wrong with a file: where, what, and what to do


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("x = (\n", 1, "SyntaxError: '(' was never closed"),
        (
            "def parse(x): ...\n\ndef build():\n    return pares\nbuild()\n",
            4,
            "NameError: name 'pares' is not defined. Did you mean: 'parse'?",
        ),
        (
            "import penstock as ps\nps.evry(1)\n",
            2,
            "AttributeError: module 'penstock' has no attribute 'evry'. Did you mean: 'every'?",
        ),
        ("raise ValueError('two\\n  lines')\n", 1, "ValueError: two lines"),
        (
            "import sys\n\nsys.exit(3)\n",
            3,
            (
                "it ends the program while it is loaded (SystemExit: 3); "
                "put what is not for penstock under: if __name__ == '__main__'"
            ),
        ),
        (
            "import nosuchpackage.part\n",
            1,
            "ModuleNotFoundError: No module named 'nosuchpackage'; pip install nosuchpackage",
        ),
        (
            "import penstock as ps\n\nx = ps.from_iterable([]).batch(0)\n",
            3,
            "batch: size must be a whole number of at least 1, got 0",
        ),
    ],
)
def test_what_a_file_raises_is_one_line(write: Write, text: str, line: int, problem: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:{line}: {problem}"
    assert (caught.value.file, caught.value.line) == (str(path), line)


def test_an_import_that_misspells_names_the_right_one(write: Write) -> None:
    with pytest.raises(ConfigError, match=r":1: ImportError: .* Did you mean: 'every'\?$"):
        load(write("from penstock import evry\n"))


def test_an_error_in_a_neighbour_names_both_lines(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write("\n1 / 0\n", "broken_neighbour.py").parent)
    path = write("\nimport broken_neighbour\n")
    problem = r"ZeroDivisionError: division by zero \(at broken_neighbour.py:2\)$"
    with pytest.raises(ConfigError, match=rf":2: {problem}"):
        load(path)


def test_a_syntax_error_in_a_neighbour_is_blamed_on_the_neighbour(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write("\nx = )\n", "broken_neighbour.py").parent)
    with pytest.raises(ConfigError, match=r"^broken_neighbour.py:2: SyntaxError: unmatched"):
        load(write("import broken_neighbour\n"))


def test_the_server_that_is_not_installed_is_installed_by_its_extra(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A module that is None in sys.modules can't be imported, as if it weren't installed.
    monkeypatch.setitem(sys.modules, "penstock_server", None)
    with pytest.raises(ConfigError, match=r"; pip install '\.\[server\]' in penstock's checkout$"):
        load(write("from penstock_server import Server\n"))


def test_what_a_part_of_penstock_misses_is_installed_by_the_extra_of_that_part(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "penstock.net.http", raising=False)
    with pytest.raises(ConfigError, match=r"; pip install '\.\[net\]' in penstock's checkout$"):
        load(write("import penstock.net.http\n"))


def test_a_missing_part_of_penstock_is_not_to_be_installed_from_a_registry(write: Write) -> None:
    # There the name penstock is another package's.
    with pytest.raises(ConfigError, match=r"No module named 'penstock.nosuch'$"):
        load(write("import penstock.nosuch\n"))


def test_files_that_are_none(tmp_path: Path, write: Write) -> None:
    write("", "pipelines.py")
    write("", "pipelines.toml")
    problems = {
        "pipelins.py": f"no such file. Did you mean: '{tmp_path}/pipelines.py'?",
        "nothing/like/it": "no such file",
        "": "it is a folder; name a Python file in it",
        "pipelines.toml": "not a Python file; give a file that ends in .py",
    }
    for name, problem in problems.items():
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {problem}"


def test_ctrl_c_while_loading_passes(write: Write) -> None:
    with pytest.raises(KeyboardInterrupt):
        load(write("raise KeyboardInterrupt\n"))


@pytest.mark.parametrize(
    ("name", "line", "problem"),
    [
        ("countd", 1, "no countd in it. Did you mean: 'counted'?; it has counted"),
        ("numbers", 2, "numbers is a Stream, not a Pipeline; end it in a sink: .to(collect())"),
        ("double", 4, "double is a function, not a Pipeline; it has counted"),
    ],
)
def test_a_name_that_is_not_a_pipeline(write: Write, name: str, line: int, problem: str) -> None:
    path = write(
        "import penstock as ps\n"
        "numbers = ps.from_iterable([1])\n"
        "counted = numbers.to(ps.count())\n"
        "def double(x): return 2 * x\n"
    )
    config = load(path)
    with pytest.raises(ConfigError) as caught:
        config.find(ps.Pipeline, name)
    assert str(caught.value) == f"{path}:{line}: {problem}"


@pytest.mark.parametrize(
    ("body", "line", "problem"),
    [
        ("return 1 / 0", 11, "ZeroDivisionError: division by zero"),
        ("return ps.every(-1)", 11, "every: "),
        ("pass", 10, "cpu must give a Stream or a Pipeline, but gave None; return it"),
    ],
)
def test_a_topic_that_can_not_be_built(write: Write, body: str, line: int, problem: str) -> None:
    path = write(
        f"import penstock as ps\n{SERVER}\n\ndef cpu():\n    {body}\nserver = Server(cpu)\n"
    )
    config = load(path)
    [(name, build)] = config.topics()
    with pytest.raises(ConfigError) as caught:
        config.build(name, build)
    assert str(caught.value).startswith(f"{path}:{line}: {problem}")


def test_a_server_that_can_not_say_what_it_offers(write: Write) -> None:
    path = write("class S:\n    def named_pipelines(self):\n        return 1 / 0\ns = S()\n")
    with pytest.raises(ConfigError, match=r":3: ZeroDivisionError"):
        load(path).topics()


PROXY = """
class Proxy:
    def __getattr__(self, name):
        raise RuntimeError("not within a request")

request = Proxy()
"""


def test_an_object_that_answers_for_what_is_not_there_is_left_alone(write: Write) -> None:
    assert load(write(PROXY)).servers == {}
