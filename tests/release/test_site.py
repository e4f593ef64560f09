"""The documents as a site: mkdocs finds no dead link in the sources, zensical builds without a
warning, and no link of a built page is dead or asks others."""

from __future__ import annotations

import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent


class Links(HTMLParser):
    """What a page refers to, what it makes a browser fetch, and what can be referred to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.fetched: set[str] = set()
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.targets.add(given["href"])
        elif fetched := given.get("src") or (given.get("href") if tag == "link" and given.get("rel") != "canonical" else None):
            self.fetched.add(fetched)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "mkdocs.yml", work)
    shutil.copytree(ROOT / "docs", work / "docs")
    done = subprocess.run([TOOLS / "zensical", "build", "--strict"], cwd=work, capture_output=True, text=True, check=False)
    assert (done.returncode, "No issues found" in done.stderr + done.stdout) == (0, True), done.stdout + done.stderr
    return work / "site"


def test_no_source_has_a_dead_link(tmp_path: Path) -> None:
    """mkdocs says more than zensical does, and fails only if it may print it: no -q."""
    command = [TOOLS / "mkdocs", "build", "--strict", "--theme", "mkdocs", "-d", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_page_has_a_dead_link_or_asks_others(site: Path) -> None:
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert len(pages) > 20
    wrong = []
    for path, links in pages.items():
        wrong += [f"{path.name} fetches {one}" for one in links.fetched if urlsplit(one).netloc]
        for target in links.targets | links.fetched:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            file = file / "index.html" if file.is_dir() else file
            if not file.exists() or (parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].ids | {"__skip"}):
                wrong.append(f"{path.name}: {target}")
    assert wrong == []
