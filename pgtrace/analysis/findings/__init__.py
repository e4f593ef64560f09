"""Findings: something in a trace that costs round trips or will fail, one module each, with evidence and remedy."""
