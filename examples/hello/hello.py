"""A web application without any framework: WSGI (PEP 3333) is one function.

The server calls it once for each request with ``environ``, a dictionary that describes the request, and
``start_response``, which takes the status and the headers. What it returns is the body, in bytes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from html import escape
from typing import Any
from urllib.parse import parse_qs

# What of environ the page shows. Everything else that begins with HTTP_ is one of the browser's headers.
SHOWN = (
    ("REQUEST_METHOD", "what the browser wants to do"),
    ("PATH_INFO", "the path in the address"),
    ("QUERY_STRING", "what follows the question mark"),
    ("HTTP_HOST", "the name that was asked for"),
    ("HTTP_USER_AGENT", "the browser"),
    ("HTTP_ACCEPT_LANGUAGE", "the languages it likes"),
    ("REMOTE_ADDR", "where the request comes from"),
    ("wsgi.url_scheme", "http or https"),
    ("wsgi.multithread", "are there other threads?"),
    ("wsgi.multiprocess", "are there other processes?"),
)

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Hello, {name}</title>
<link rel="icon" href="data:,">
<style>
:root {{ --paper: #f3f6fb; --card: #fff; --ink: #182030; --soft: #56617a; --line: #dbe2ee; --field: #8490a8;
         --accent: #2456d6 }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: #10141d; --card: #181e2a; --ink: #e7ecf6; --soft: #9aa7c0; --line: #2a3344; --field: #6b7891;
           --accent: #8fb0ff }}
}}
* {{ box-sizing: border-box }}
body {{ margin: 0 auto; max-width: 46rem; padding: 3rem 1.25rem; font: 1.05rem/1.6 system-ui, sans-serif;
       color: var(--ink); background: var(--paper) }}
h1 {{ margin: 0; font-size: clamp(2.2rem, 9vw, 3.6rem); line-height: 1.1; letter-spacing: -.02em;
     overflow-wrap: anywhere }}
h2 {{ margin: 0 0 .75rem; font-size: 1.1rem }}
p {{ margin: 1rem 0; color: var(--soft) }}
form {{ display: flex; flex-wrap: wrap; gap: .6rem; align-items: end; margin: 1.5rem 0 2.5rem }}
label {{ flex: 1 1 14rem; font-size: .9rem; color: var(--soft) }}
input {{ display: block; width: 100%; margin-top: .25rem }}
input, button {{ font: inherit; font-size: 1rem; padding: .55rem .8rem; border-radius: .5rem;
                border: 1px solid var(--field); color: var(--ink); background: var(--card) }}
a {{ color: var(--accent) }}
button {{ border-color: var(--accent); background: var(--accent); color: var(--paper); font-weight: 600;
         cursor: pointer }}
:focus-visible {{ outline: 3px solid var(--accent); outline-offset: 2px }}
section {{ padding: 1.25rem; border: 1px solid var(--line); border-radius: .75rem; background: var(--card) }}
dl {{ margin: 0 }}
dl > div {{ padding: .6rem 0; border-top: 1px solid var(--line) }}
dt {{ display: flex; flex-wrap: wrap; gap: 0 .75rem; font-size: .85rem; color: var(--soft) }}
dt code {{ color: var(--accent) }}
dd {{ margin: 0; overflow-wrap: anywhere }}
</style>
<main>
<h1>Hello, {name}</h1>
<p>This page comes from one function without a framework, in process {pid}, by Python {python}.</p>
<form>
  <label>Who are you? <input name="name" maxlength="60" autocomplete="given-name"></label>
  <button>Say hello</button>
</form>
<section aria-labelledby="request">
<h2 id="request">Your request, as the function sees it</h2>
<dl>
{rows}
</dl>
</section>
<p>Try <a href="/some/path?colour=blue">another address</a>: this site answers at all of them.</p>
</main>
</html>
"""


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer any request with a page about it."""
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        body = b"This page can only be read.\n"
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Allow", "GET, HEAD")]
        start_response("405 Method Not Allowed", headers)
        return [body]
    name = parse_qs(environ.get("QUERY_STRING", "")).get("name", ["world"])[0].strip()[:60]
    rows = "\n".join(row(key, meaning, environ.get(key, "")) for key, meaning in SHOWN)
    # Whatever came from outside is escaped, or a visitor's link could put a script into the page.
    page = PAGE.format(name=escape(name), pid=os.getpid(), python=".".join(map(str, sys.version_info[:3])), rows=rows)
    body = page.encode()
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def row(key: str, meaning: str, value: Any) -> str:
    """One line of the table, in HTML."""
    if isinstance(value, str):
        # PEP 3333: text in environ holds one byte per character; what the bytes say is nearly always UTF-8.
        value = value.encode("latin-1").decode("utf-8", "replace")
    return f"<div><dt><code>{escape(key)}</code> {escape(meaning)}</dt><dd>{escape(str(value)) or '(empty)'}</dd></div>"


if __name__ == "__main__":
    # The standard library's server, good enough to try it: python hello.py
    from wsgiref.simple_server import make_server

    with make_server("127.0.0.1", 8000, application) as server:
        print("http://hello.localhost:8000")
        server.serve_forever()
