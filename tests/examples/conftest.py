"""The examples as they are meant to be run: ``penstock serve examples/NAME.py``, in processes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import TypeAlias

import pytest

from ..e2e.browser import browser as browser
from ..e2e.browser import page as page
from ..e2e.serving import ROOT, SERVE, Reaper, ServerProcess, serving

ServeExample: TypeAlias = Callable[..., ServerProcess]


@pytest.fixture(scope="session")
def census_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("library")


@pytest.fixture
def library(census_root: Path) -> Path:
    """The folder that the census counts in place of the standard library: empty."""
    for each in census_root.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    return census_root


@pytest.fixture(scope="session")
def log_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that ``logfile`` follows where that was asked for."""
    return tmp_path_factory.mktemp("logs") / "some.log"


@pytest.fixture(scope="session")
def serve_example(
    tmp_path_factory: pytest.TempPathFactory, census_root: Path, log_file: Path
) -> Iterator[ServeExample]:
    """Serves an example to the end: ``serve_example("room")``; asked again, the same server.

    With ``port=`` it is another one, such as one that comes back after it was killed. "followed" is
    ``logfile`` with a file of ours.
    """
    logs, numbers = tmp_path_factory.mktemp("examples"), count()
    running: dict[str, ServerProcess] = {}
    with closing(Reaper()) as reaper, ExitStack() as stack:

        def serve(name: str, port: int = 0) -> ServerProcess:
            if port or name not in running:
                file = ROOT / "examples" / f"{'logfile' if name == 'followed' else name}.py"
                command = (*SERVE, str(file), "--bind", f"127.0.0.1:{port}")
                with pytest.MonkeyPatch.context() as environment:
                    environment.setenv("CENSUS_ROOT", str(census_root))
                    environment.setenv("LOGFILE", str(log_file) if name == "followed" else "")
                    server = serving(command, logs / f"{next(numbers)}-{name}.log", reaper)
                    running[name] = stack.enter_context(server)
            return running[name]

        yield serve
        said = {name: server.stderr for name, server in running.items()}
    assert {name: text for name, text in said.items() if "Traceback" in text} == {}
