"""What to install when an import fails. Pure.

penstock itself is installed from its checkout: on the public registry its name is another's.
"""

from __future__ import annotations

from traceback import walk_tb

_EXTRAS = (
    ("penstock_server", "server"),
    ("penstock.net", "net"),
    ("pyarrow", "parquet"),
    ("zstandard", "zstd"),
)


def install_hint(error: ImportError) -> str:
    """The command that installs what is missing, or an empty text where nothing is.

    A module that only an extra of penstock asks for is installed by that extra. For a module of
    penstock's own that isn't there, there is nothing to install.
    """
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    importers = [
        str(frame.f_globals.get("__name__", "")) for frame, _ in walk_tb(error.__traceback__)
    ]
    wanted_by = [error.name, *reversed(importers)]
    for package, extra in _EXTRAS:
        if any(name == package or name.startswith(f"{package}.") for name in wanted_by):
            return extra_hint(extra)
    missing = error.name.partition(".")[0]
    return "" if missing == "penstock" else f"pip install {missing}"


def extra_hint(extra: str) -> str:
    """The command that installs an extra of penstock."""
    return f"pip install '.[{extra}]' in penstock's checkout"
