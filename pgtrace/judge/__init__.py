"""What a trace says about the program: findings, each with its evidence, cost and remedy.

- findings/: one file for each kind.
- advice.py: reads the rows once and adds up what the kinds saw.
"""
