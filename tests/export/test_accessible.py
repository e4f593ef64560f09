"""Pages that pgtrace writes, looked at by axe-core: `make accessible` fetches it and runs this (PGTRACE_AXE is its axe.min.js)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pgtrace.cli.compare import _measured
from pgtrace.compare.variants import Variant
from pgtrace.report.comparison.web import as_html
from tests.export.test_export_html import page_of
from tests.tui.web import chromium

AXE = os.environ.get("PGTRACE_AXE", "")
pytestmark = pytest.mark.skipif(not AXE or chromium.PROGRAM is None, reason="needs a browser and axe-core: make accessible")
ROOT = Path(__file__).parents[2]
LOOK = "axe.run(document).then((found) => JSON.stringify(found.violations.map((one) => [one.id, one.nodes.map((node) => node.html)])))"


def report() -> str:
    return page_of(*sorted((ROOT / "tests" / "data" / "findings").glob("*.pgtrace")))


def comparison() -> str:
    paths = {driver: ROOT / "captures" / driver / "failure.pgtrace" for driver in ("asyncpg", "psycopg", "pg8000")}
    variants = [Variant(label) for label in paths]
    return as_html(_measured(variants, [(label, str(path)) for label, path in paths.items()], 1, quiet=True))


def evidence() -> str:
    return (ROOT / "examples" / "driver_evidence" / "results" / "EVIDENCE.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("made", [report, comparison, evidence])
async def test_axe_finds_nothing(made: Any, width: int, theme: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(made(), encoding="utf-8")
    async with chromium.page(tmp_path / "browser", width, 800) as page:
        await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        await page.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        await page.call("Page.navigate", url=path.as_uri())
        await page.wait_for(f"document.readyState === 'complete' && location.href === {path.as_uri()!r}")
        if made is report:
            await page.wait_for("document.documentElement.dataset.drawn === 'yes'")
            await page.value("document.getElementById('list').focus()")
            await page.call("Input.dispatchKeyEvent", type="keyDown", key="End")
            await page.wait_for("document.querySelectorAll('#about tbody tr').length > 0")
        await page.value(f"{Path(AXE).read_text(encoding='utf-8')};0")
        found = (await page.call("Runtime.evaluate", expression=LOOK, awaitPromise=True, returnByValue=True))["result"]["value"]
        assert json.loads(found) == []
