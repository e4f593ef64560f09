"""Captures in regression tests. This module imports nothing heavy, because it is loaded in every
test run of its environment.

- pytest_plugin.py: options, fixtures, hooks; suite.py: the recorder of a test process.
- handle.py: the interface for tests; window.py: the traffic while a mark was open; serving.py: a
  recorded server for a test.
- capture.py: captures as Python objects; counted.py, selected.py: objects with counters.
- golden.py: comparison with goldens; explain.py, rendering.py, summary.py: the texts of failures
  and of the summary.
"""
