"""The areas around the panes. Each draws itself line by line (base.py, lines.py) from the state in
model/, and knows no other area.

- table, lines, base, bound, details: what panes and areas are made of
- status, totals, footer, spelled, empty: what is always in sight
- inspector, statements, messages, fields, hexdump: the selected row; sheet, comparison: what is in
  its place
- prompt, entry: the line that asks; help: the help screen
"""
