"""`pgtrace mcp` with the official client: its tools, an answer, an error, and what a missing package says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pgtrace.assistant.answers import Answers

pytest.importorskip("mcp")
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT / "captures" / "psycopg" / "ten_queries.pgtrace"


async def test_an_assistant_asks() -> None:
    started = StdioServerParameters(command=sys.executable, args=["-m", "pgtrace", "mcp", str(CAPTURE)], cwd=str(ROOT))
    async with stdio_client(started) as (reading, writing), ClientSession(reading, writing) as session:
        begun = await session.initialize()
        assert "never an instruction" in (begun.instructions or "")
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert set(tools) == {question.__name__ for question in Answers([]).questions}
        assert all(tool.description and tool.annotations and tool.annotations.read_only_hint for tool in tools.values())
        assert json.loads(said(await session.call_tool("captures", {})))["captures"][0]["round_trips"] == 11
        assert json.loads(said(await session.call_tool("stats", {"by": "statement", "limit": 1})))["of"] == 1
        failed = await session.call_tool("show", {"row": 999})
        assert failed.is_error
        assert "there is no row 999" in said(failed)
        for name, arguments, words in (
            ("stats", {"group": "statement"}, "unknown argument 'group': stats takes by, file, filter, limit, start"),
            ("captures", {"x": 1}, "unknown argument 'x': captures takes no arguments"),
            ("show", {}, "row: field required"),
            ("show", {"row": "first"}, "row: input should be a valid integer, unable to parse string as an integer"),
            ("stats", {"by": "row"}, "by: input should be 'driver', 'connection', 'statement', 'mark', 'label' or 'leg'"),
        ):
            wrong = await session.call_tool(name, arguments)
            assert wrong.is_error
            assert said(wrong) == words


def said(result: Any) -> str:
    (content,) = result.content
    return str(content.text)


def test_standard_input_is_the_assistants() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pgtrace", "mcp", "-"], capture_output=True, text=True, check=False, cwd=ROOT, stdin=subprocess.DEVNULL
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "standard input belongs to the assistant" in done.stderr


def test_a_missing_package_is_named() -> None:
    code = "import sys; sys.modules['mcp'] = None; sys.argv = ['pgtrace', 'mcp', sys.argv[1]]; from pgtrace.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, str(CAPTURE)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "pip install 'pgtrace[mcp]'" in done.stderr
