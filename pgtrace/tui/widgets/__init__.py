"""The areas around the panes. Each draws itself line by line (base.py, lines.py) from the state in
model/, and knows no other area.

table.py is what panes with columns have in common; prompt.py is the line that asks.
"""
