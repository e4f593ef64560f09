"""The example runs as its first lines say, with either driver and either way to tell it where to connect."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live


PROGRAM = Path(__file__).parents[2] / "examples" / "count_round_trips.py"


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize("how", ["variables", "url"])
def test_example_runs(driver, how, server):
    environment = os.environ | (server.environment() if how == "variables" else {"DATABASE_URL": server.url()})
    command = [sys.executable, "-W", "error", str(PROGRAM), "--driver", driver]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{driver} read 5 items: tea, rice, salt, soap, rope\n", "")
