"""The command line: penstock's own commands, and what other packages add."""

from __future__ import annotations

import click

from penstock import __version__
from penstock._commands.chat import chat
from penstock._commands.check import check
from penstock._commands.graph import graph
from penstock._commands.plugins import CommandLine
from penstock._commands.publish import publish
from penstock._commands.run import run
from penstock._commands.tail import tail


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="penstock", message="%(prog)s %(version)s")
def main() -> None:
    """Run, check and draw streams that are written in Python, and put them on the web.

    \b
    A file of pipelines:
      import penstock as ps
      errors = (
          ps.read_lines("access.log")
          .filter(lambda line: " 500 " in line)
          .to(ps.write_lines("errors.log"))
      )

    \b
    Examples:
      penstock check pipelines.py
      penstock run pipelines.py:errors
      penstock graph pipelines.py --format text
      penstock serve examples/machine.py
      penstock tail http://127.0.0.1:8000/topics/cpu --count 5
      penstock publish http://127.0.0.1:8000/topics/news '"hello"'
      penstock chat http://127.0.0.1:8000
    """


for _command in (run, check, graph, tail, publish, chat):
    main.add_command(_command)

if __name__ == "__main__":
    main(prog_name="penstock")
