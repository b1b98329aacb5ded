"""``penstock chat``."""

from __future__ import annotations

import click

from penstock._errors import PipelineError
from penstock._install_hint import install_hint

from .failure import Failure, error_line
from .headers import header_option, token_option


@click.command(short_help="Talk to a language model on a terminal.")
@click.argument("url")
@click.option("--model", metavar="NAME", help="Which model. [default: the first that there is]")
@click.option("--system", metavar="TEXT", help="What the model is told beforehand.")
@token_option("An API key or a token, if needed.", "KEY")
@header_option("A further header.")
def chat(
    url: str, model: str | None, system: str | None, token: str | None, headers: tuple[str, ...]
) -> None:
    """Talk to a model behind any API of OpenAI's kind, a penstock server's among them.

    URL is the base URL. One without a path is tried with /v1 first, so for a penstock server it is
    enough to give http://127.0.0.1:8000. PENSTOCK_TOKEN in the environment does for --token.

    Ctrl-C stops an answer, Ctrl-D leaves, and /help tells the rest. Where standard input is no
    terminal, each line of it is a question; the first failure ends it with status 1.

    \b
    Examples:
      penstock chat http://127.0.0.1:8000
      echo 'What is a cursor?' | penstock chat http://127.0.0.1:8000/v1 --model markov
    """
    try:
        from .dialogue import Place, UpstreamError, talk  # httpx is an extra, and slow to import
    except ImportError as error:
        raise Failure(error_line(f"chat needs more: {install_hint(error)}")) from error
    place = Place(url, token, dict(map(_header, headers)))
    try:
        talk(place, model, system)
    except UpstreamError as error:
        raise Failure(error_line(error)) from error
    except PipelineError as error:
        problem = error.problem.replace("base_url", "the URL").replace("api_key", "the token")
        raise Failure(error_line(problem)) from error


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise click.BadParameter("a header is like 'Name: value'", param_hint="-H")
    return name.strip(), value.strip()
