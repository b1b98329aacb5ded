"""Writes the reference pages in docs/reference from the docstrings:  python scripts/reference.py

With ``--check`` it writes nothing and exits with 1 where a page is not what it would write.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import penstock as ps
from penstock import testing

PAGES = Path(__file__).parent.parent / "docs" / "reference"

_HEAD = (
    "<!-- Written by scripts/reference.py from the docstrings. Change those, and run it again. -->"
)
_LINE = 100


@dataclass(frozen=True)
class Family:
    """One page: a title, what to know first, and names in the order of the page.

    A name is of penstock (``every``), or a method (``Stream.map``).
    """

    title: str
    intro: str
    names: tuple[str, ...]


class _Dots:
    def __repr__(self) -> str:
        return "…"


_LEFT_OUT = _Dots()
"""Stands for a default that is an object without a meaning of its own."""

_MADE_BY_USERS = (testing.Recorder,)
"""Classes whose signature is shown though they are not dataclasses; penstock makes the others."""

_CALLED = {
    "__aiter__": ("item by item", "async for item in {}:"),
    "__call__": ("item by item", "await {}(item)"),
}
"""Methods that are used without their names, and how."""

FAMILIES: dict[str, Family] = {}


def family(page: str, title: str, intro: str, names: str) -> None:
    """Declare a page; ``names`` with spaces between them."""
    FAMILIES[page] = Family(title, intro, tuple(names.split()))


family(
    "producers",
    "Producers",
    "Where items come from. Each gives a `Stream`, which runs nothing until a pipeline made of it"
    " is run.",
    """from_iterable from_async from_channel every read_lines read_jsonl read_csv read_msgpack
    read_parquet follow subprocess_lines stdin_lines merge concat zip combine_latest merge_sorted
    interleave producer Sender Stream.restart""",
)
family(
    "elements",
    "Element operators",
    "Work on one item after another, fused into the task that feeds them: a run of them costs a"
    " function call a chunk each. Items keep their order.",
    """Stream.map Stream.filter Stream.flat_map Stream.scan Stream.enumerate Stream.pairwise
    Stream.take Stream.take_while Stream.skip Stream.skip_while Stream.dedupe Stream.distinct
    Stream.tap Stream.via transform Receiver""",
)
family(
    "concurrent",
    "Concurrent operators",
    "Several calls at a time, each in a task, a thread or a process, and never more than you say.",
    "Stream.map_async Stream.map_blocking Stream.flat_map_async Stream.switch_map",
)
family(
    "time",
    "Operators of time",
    "All of them go by Trio's clock, so tests of them under `autojump_clock` take no time.",
    """Stream.batch Stream.debounce Stream.throttle Stream.sample Stream.rate_limit Stream.delay
    Stream.timeout""",
)
family(
    "flow",
    "Flow: buffers, branches, joins",
    "Where a stream is given room, divided, or brought together with others.",
    """Stream.buffer Stream.broadcast Stream.partition Partition Stream.route Stream.merge
    Stream.concat Stream.zip Stream.combine_latest Stream.merge_sorted Stream.interleave gather""",
)
family(
    "keyed",
    "Keyed streams and windows",
    "State for each key, within bounds, and windows over the time of events or of the clock.",
    """Stream.key_by KeyedStream KeyedStream.scan KeyedStream.reduce KeyedStream.dedupe
    KeyedStream.debounce KeyedStream.map_async KeyedStream.window tumbling sliding session by_count
    WindowedStream WindowedStream.count WindowedStream.sum WindowedStream.collect
    WindowedStream.aggregate Window""",
)
family(
    "errors",
    "Errors",
    "What can go wrong, and what becomes of an item that a function failed on.",
    """StageError PipelineError PenstockError Location AsyncMismatch BufferOverflow EmptyStream
    TooManyRestarts retry dead_letter DeadLetter Backoff""",
)
family(
    "sinks",
    "Sinks",
    "Where a pipeline ends, and what its result is.",
    """collect count fold first last drain for_each write_lines write_jsonl write_csv write_msgpack
    write_parquet to_channel sink Sink""",
)
family(
    "running",
    "Running and seeing",
    "How a pipeline is run, stopped, watched and drawn.",
    """run Stream Stream.to Stream.open Stream.graph Pipeline Pipeline.run Pipeline.open
    Pipeline.graph Pipeline.check Finding Run Run.result Run.stop Run.stats Run.report RunStopped
    RunStats StageStats
    BufferStats Report Watchdog Graph Graph.mermaid Graph.dot Graph.text caller_location""",
)
family(
    "testing",
    "penstock.testing",
    "For the tests of your own operators and pipelines. These names are in `penstock.testing`.",
    """testing.check_transform testing.ConformanceError testing.probe_source testing.ProbeSource
    testing.probe_sink testing.ProbeSink testing.Recorder testing.Recorded testing.replay
    testing.assert_balanced""",
)


def page(name: str) -> str:
    """The text of one page."""
    of = FAMILIES[name]
    parts = [_HEAD, f"# {of.title}", of.intro, " · ".join(map(link, of.names))]
    for each in of.names:
        parts += [entry(each), *(entry(method, "###") for method in methods(each))]
    return "\n\n".join(parts) + "\n"


def link(name: str) -> str:
    """A link to a name's own heading on the page."""
    return f"[`{name.removeprefix('testing.')}`](#{re.sub(r'[^a-z0-9_]', '', name.lower())})"


def methods(name: str) -> list[str]:
    """What users can call and read of a class, where no page has it under its own name."""
    kind = found(name)
    if not inspect.isclass(kind) or issubclass(kind, BaseException):
        return []
    named = {each for family in FAMILIES.values() for each in family.names}
    own = [
        each
        for each, value in vars(kind).items()
        if (callable(value) or isinstance(value, property))
        and (each in _CALLED or not each.startswith("_"))
        and "trio.abc.Instrument" not in (value.__doc__ or "")  # Trio calls it
    ]
    return [f"{name}.{each}" for each in own if f"{name}.{each}" not in named]


def entry(name: str, heading: str = "##") -> str:
    """One name: its signature as a heading's code, and its docstring."""
    thing = found(name)
    if heading != "##":
        name = name.removeprefix("testing.")
    owner, _, last = name.rpartition(".")
    if last in _CALLED:
        title, code = _CALLED[last]
        use = f"```text\n{code.format(owner.lower())}\n```"
        return "\n\n".join([f"{heading} {owner}: {title}", use, text_of(thing)])
    shown = name if "." in name or not inspect.isclass(thing) else f"class {name}"
    parts = [f"{heading} {name}"]
    signature = signature_of(name, thing)
    if signature or shown != name:
        parts.append(f"```text\n{signature or shown}\n```")
    parts.append(text_of(thing))
    return "\n\n".join(parts)


def found(name: str) -> Any:
    """What a name of a family is."""
    thing: Any = ps
    for part in name.removeprefix("testing.").split("."):
        thing = getattr(testing if thing is ps and name.startswith("testing.") else thing, part)
    return thing


def signature_of(name: str, thing: Callable[..., Any]) -> str:
    """``name(a, b=1) -> C``, over several lines where it is long; "" where it has none."""
    if isinstance(thing, property):
        return f"{name}: {inspect.signature(thing.fget).return_annotation}" if thing.fget else ""
    if inspect.isclass(thing) and not is_dataclass(thing) and thing not in _MADE_BY_USERS:
        return ""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    given = [each for each in signature.parameters.values() if each.name != "self"]
    signature = signature.replace(parameters=given)
    if inspect.isclass(thing):
        signature = signature.replace(return_annotation=signature.empty)
    given = [
        each.replace(default=_LEFT_OUT)
        if re.search(r" at 0x|_Missing|MISSING|^Traits\(", repr(each.default))
        else each
        for each in given
    ]
    signature = signature.replace(parameters=given)
    called = "await " if inspect.iscoroutinefunction(thing) else ""
    return called + name + plain(signature)


def plain(signature: inspect.Signature) -> str:
    """The signature without the quotes of annotations that are text."""
    text = str(signature)
    annotations = [each.annotation for each in signature.parameters.values()]
    for annotation in [*annotations, signature.return_annotation]:
        if isinstance(annotation, str):
            text = text.replace(repr(annotation), annotation)
    if len(text) < _LINE - 20:
        return text
    inner = [str(each) for each in parameters_of(signature)]
    for number, each in enumerate(inner):
        for annotation in annotations:
            if isinstance(annotation, str):
                each = each.replace(repr(annotation), annotation)
        inner[number] = f"    {each},"
    ending = text[text.rindex(")") + 1 :] if " -> " not in text else text[text.rindex(" -> ") :]
    return "\n".join(["(", *inner, f"){ending}"])


def parameters_of(signature: inspect.Signature) -> Iterator[object]:
    """The parameters, with the marks ``*`` and ``/`` between them."""
    kinds = inspect.Parameter
    before = None
    for each in signature.parameters.values():
        if before is kinds.POSITIONAL_ONLY and each.kind is not kinds.POSITIONAL_ONLY:
            yield "/"
        keyword_only = each.kind is kinds.KEYWORD_ONLY
        if keyword_only and before not in (kinds.KEYWORD_ONLY, kinds.VAR_POSITIONAL):
            yield "*"
        yield each
        before = each.kind


def text_of(thing: Any) -> str:
    """The docstring as Markdown."""
    text = inspect.getdoc(thing)
    if not text:
        raise SystemExit(f"{thing!r} has no docstring")
    text = text.replace("``", "`")
    return re.sub(
        r"^(Args|Attributes):\n((?:[ ]{4}.*\n?|\n)+)", _listed, text, flags=re.MULTILINE
    ).strip()


def _listed(match: re.Match[str]) -> str:
    lines: list[str] = []
    for line in inspect.cleandoc(match[2]).splitlines():
        item = re.match(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)", line)
        further = f"  {line.strip()}".rstrip()
        lines.append(f"- `{item[1]}`: {item[2]}" if item else further)
    return "\n".join(lines) + "\n\n"


def missing() -> set[str]:
    """Public names that are on no page."""
    shown = {name for each in FAMILIES.values() for name in each.names}
    public = set(ps.__all__) | {f"testing.{name}" for name in testing.__all__}
    for kind in (ps.Stream, ps.KeyedStream, ps.WindowedStream, ps.Pipeline):
        public |= {f"{kind.__name__}.{name}" for name in vars(kind) if not name.startswith("_")}
    return public - shown


def main() -> int:
    """Write the pages, or check them."""
    check = "--check" in sys.argv
    wrong = 0
    if missing():
        print(f"on no page: {', '.join(sorted(missing()))}; give them one in scripts/reference.py")
        wrong = 1
    for name in FAMILIES:
        path = PAGES / f"{name}.md"
        text = page(name)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            if check:
                wrong = 1
                print(f"{path} is not what the docstrings say; run scripts/reference.py")
            else:
                PAGES.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
