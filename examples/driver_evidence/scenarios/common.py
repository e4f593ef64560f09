"""What the scenarios share: their variant, and what they report besides the wire."""

import json
import os
import sys

VARIANT = sys.argv[1] if len(sys.argv) > 1 else ""
DSN = os.environ["DATABASE_URL"]


def tell(**facts):
    """Facts that only the program knows, as the last line of its output."""
    print(json.dumps(facts, default=str))


def url(scheme):
    """The same address for an ORM."""
    return DSN.replace("postgresql", scheme, 1)
