"""The document around a report: one file, light and dark, for narrow and wide screens.

The page loads nothing. Its policy (CSP) allows one style sheet and at most one script, ours, by
their hashes, and nothing else: whatever the text of a statement contains, a browser neither runs
nor fetches it.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from pgtrace.report.page.html import Markup, element, joined

STYLE: Final = """
:root { color-scheme: light dark; --back: #fff; --text: #1c2128; --quiet: #59636e; --line: #d1d9e0; --soft: #f3f5f7; --wait: #0969da;
  --first: #8250df; --setup: #9a6700; --wrong: #cf222e; --good: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --text: #e6edf3; --quiet: #9198a1; --line: #3d444d; --soft: #161b22;
  --wait: #4493f8; --first: #ab7df8; --setup: #d29922; --wrong: #f85149; --good: #3fb950; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem 1.25rem 4rem; max-width: 80rem; background: var(--back); color: var(--text);
  font: 15px/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: .5rem 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
p { margin: .4rem 0; max-width: 60rem; } .quiet { color: var(--quiet); } .wrong { color: var(--wrong); } .good { color: var(--good); }
a { color: inherit; text-decoration: underline dotted var(--quiet); text-underline-offset: .2em; }
a:focus-visible, div.wide:focus-visible { outline: 2px solid var(--wait); }
code, .sql, .flight { font-family: ui-monospace, monospace; font-size: .86em; }
div.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .3rem .6rem; text-align: right; vertical-align: top; border-top: 1px solid var(--line); white-space: nowrap; }
thead th, thead td { white-space: normal; min-width: 5rem; border-top: 0; background: var(--soft);
  font-weight: 600; } th:first-child, td.left { text-align: left; }
tbody th { font-weight: 400; } th.sql, td.sql, td.flight { white-space: normal; min-width: 16rem; overflow-wrap: anywhere;
  text-align: left; }
td.best { font-weight: 600; } td.wrong { color: var(--wrong); }
ul, ol { padding-left: 1.4rem; margin: .3rem 0; } li { margin: .15rem 0; }
li:target { background: var(--soft); outline: 1px solid var(--wait); }
div.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
div.card { border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; min-width: 0; }
div.bar { display: grid; grid-template-columns: minmax(0, 11fr) minmax(0, 9fr); gap: .6rem; align-items: center; padding: .1rem 0;
  border-top: 1px solid var(--line); }
div.bar div { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
svg { display: block; width: 100%; height: .9rem; background: var(--soft); }
rect.wait { fill: var(--wait); } rect.first { fill: var(--first); } rect.setup { fill: var(--setup); } rect.wrong { fill: var(--wrong); }
span.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 .8em; }
@media (max-width: 40rem) { th, td { white-space: normal; padding: .3rem .4rem; } th:first-child { min-width: 6rem; } }
span.key.wait { background: var(--wait); } span.key.first { background: var(--first); } span.key.setup { background: var(--setup); }
span.key.wrong { background: var(--wrong); }
""".strip()


def policy(style: str = STYLE, script: str = "") -> str:
    """The Content-Security-Policy: the page may use its own style and script, and nothing else."""
    runs = f" script-src {_source(script)};" if script else ""
    return f"default-src 'none'; style-src {_source(style)};{runs} base-uri 'none'; form-action 'none'"


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def document(title: str, *body: str, style: str = "", script: str = "") -> str:
    """The whole file; `style` is added to the common style, `script` runs when the page is
    complete.
    """
    style = STYLE + style
    body = (element("main", *body), *([element("script", Markup(script))] if script else []))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy(style, script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", Markup(style)),
    )
    return f"<!doctype html>\n{element('html', head, element('body', joined(*body)), lang='en')}\n"
