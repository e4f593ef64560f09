"""Regular expressions that are searched for in time linear in the text, whatever they are: for filters (ask/filter/) and fault rules (faults.py).

patterns    the syntax: text in, a small tree out
automaton   the search
"""
