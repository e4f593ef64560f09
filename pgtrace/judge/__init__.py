"""Findings about the program in a trace, each with its evidence, cost and remedy.

- advice.py: reads the rows once and adds up what the kinds saw.
- track.py: one open connection and the watches on it.
- findings/: one file per kind; kind.py defines a kind and the base class of watches.
- finding.py: a finding as views see it, with the remedies that apply.
- signs.py: evidence of a pooler.
- fatals.py: FATAL errors by which a server or a pooler ends a session.
- texts.py: facts that only the text of a statement shows, read from all its tokens.
- forgetting.py: what makes a driver forget its prepared statements.
- batches.py: statements that ask for many values at once.
- copies.py: COPYs that bring one row each.
- rounds.py: rounds of a loop that are as long as an answer has rows.
- unexplained.py: errors and ends that no finding explains.
- lines.py: the lines of code of a finding.
- baseline.py: findings that a committed file accepts, and those that fail a job.

Remedies of drivers and layers are in identify/, with the driver or layer.
"""
