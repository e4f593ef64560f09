"""The areas around the panes. Each draws itself line by line (base.py, lines.py) from the state in
model/, and knows no other area.

- table, lines, base, bound, details: the parts of panes and areas
- status, totals, footer, spelled, empty: the parts that are always visible
- inspector, statements, messages, fields, hexdump: the selected row; sheet, comparison: pages shown
  instead of it
- prompt, entry: the line that asks; help: the help screen
"""
