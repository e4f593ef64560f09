"""Findings about the program in a trace, each with its evidence, cost and remedy.

- advice.py: reads the rows once and adds up what the kinds saw.
- track.py: one open connection and the watches on it.
- findings/: one file for each kind; kind.py says what a kind is made of.
- finding.py: a finding as views see it, with the remedies that hold.
- signs.py: evidence of a pooler.
- fatals.py: FATAL errors by which a server or a pooler ends a session.
- texts.py: what only the text of a statement shows, read from all its tokens.
- forgetting.py: what makes a driver forget its prepared statements.
- batches.py: statements that ask for many things at once.
- unexplained.py: errors and ends that no finding explains.
- lines.py: the lines of code of a finding.
- baseline.py: what a committed file accepts, and what fails a job.

Remedies of drivers and layers are in identify/, with the driver or layer.
"""
