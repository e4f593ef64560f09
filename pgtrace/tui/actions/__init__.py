"""What the screen's keys and commands do, an object for each purpose. They work on the areas, and
none knows the screen's keys.

- narrowing, going, trail: filters, where the cursor goes, and what is related to its row
- clipboard, files, recording: copies; saved and exported captures; marks and delay
- plans, pairing, pager: EXPLAIN, two rows side by side, a row in the pager
- commands: the line that does any of it by name
- explaining, exporting, saving, background: the work itself, in threads
"""
