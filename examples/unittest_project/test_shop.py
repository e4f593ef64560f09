"""unittest without pytest: one recorder for the class, before the server that DATABASE_URL names.

python -m unittest
"""

from __future__ import annotations

import os
import unittest

import psycopg
from shop import SCHEMA, check_out

from pgtrace import Capture, Recorder


class ShopTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.recorder = cls.enterClassContext(Recorder(upstream=os.environ["DATABASE_URL"]))

    def test_checking_out_costs_four_round_trips(self) -> None:
        with psycopg.connect(self.recorder.url(), autocommit=True) as connection:
            connection.execute(SCHEMA)
            with self.recorder.mark("check out"):
                self.assertEqual(check_out(connection, [1, 2, 9]), 2)
        with Capture(self.recorder.capture) as capture:
            self.recorder.quiet(capture)
            self.assertLessEqual(capture.mark("check out").round_trips, 4)
            self.assertEqual(capture.errors, 0)
