"""Regular expression search in time linear in the text, for filters (ask/filter/) and fault rules
(faults.py).

patterns    the syntax: text in, a small tree out automaton   the search
"""
