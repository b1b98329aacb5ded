"""The page at ``/``: which topics there are and how to read them. Plain HTML, no scripts."""

from __future__ import annotations

from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 46rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-weight: 600; margin-bottom: 0; }
p.what { margin-top: .25rem; opacity: .75; }
table { border-collapse: collapse; width: 100%; margin: 1.5rem 0; }
th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #8884; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
code, pre { font: .9em ui-monospace, monospace; }
pre { padding: .8rem 1rem; background: #8882; border-radius: .4rem; overflow-x: auto; }
"""


def index_page(
    title: str, topics: list[dict[str, Any]], base: str = "http://127.0.0.1:8000"
) -> str:
    """The page for these topics, as `topic_list` gives them; `base` is where the server is."""
    base = escape(base)
    rows = "\n".join(_row(topic) for topic in topics)
    example = escape(topics[0]["name"]) if topics else "NAME"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="what">Streams served by penstock.
<a href="/topics">Topics</a> · <a href="/stats">stats</a> · <a href="/health/ready">health</a></p>
<table>
<thead><tr><th>Topic</th><th class="number">events</th><th class="number">subscribers</th>
<th>publishable</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
<p>Read one from a terminal, or from a page with
<code>new EventSource("/topics/{example}")</code>:</p>
<pre>curl -N {base}/topics/{example}
curl -N -H 'Accept: application/x-ndjson' {base}/topics/{example}
curl '{base}/topics/{example}?format=json&amp;after=earliest&amp;limit=5'</pre>
</body>
</html>
"""


def _row(topic: dict[str, Any]) -> str:
    name = escape(topic["name"])
    return (
        f'<tr><td><a href="/topics/{name}?format=json&amp;after=earliest">{name}</a></td>'
        f'<td class="number">{topic["retained"]:,}</td>'
        f'<td class="number">{topic["subscribers"]:,}</td>'
        f"<td>{'yes' if topic['publishable'] else 'no'}</td></tr>"
    )
