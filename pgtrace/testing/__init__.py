"""Captures as regression tests. This module imports nothing heavy: it is loaded in every test run
of its environment.

- pytest_plugin.py: options, fixtures, hooks; suite.py: the recorder of a test process.
- handle.py: what a test uses; window.py: what passed while a mark was open; serving.py: a recorded
  server for a test.
- capture.py: captures as Python objects; counted.py, selected.py: what has counters.
- golden.py, explain.py, rendering.py, summary.py: what is compared, and what a failure says.
"""
