"""A process of another user of this machine, for tests that run as root: a fork that gives up its rights before it does its work."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

NOBODY = 65534
needs_two_users = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0,
    reason="only root can start another user's process, and only Linux says whose a connection is",
)


def as_nobody(work: Callable[[], Any]) -> Any:
    """What `work` returns, done by a process of the user nobody; as JSON it must fit into a pipe.
    What it imports must be imported already."""
    "x".encode("idna")  # loaded while its file can be read
    answers, answer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(answers)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(answer, json.dumps(work()).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(answer)
    with open(answers, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    assert text, "the other user's process failed"
    return json.loads(text)
