"""The actions of the screen's keys and commands, one object for each purpose. They work on the
areas and do not know the keys.

- narrowing, going, trail: filters, cursor movements, and related rows
- clipboard, files, recording: copies; saved and exported captures; marks and delay
- plans, pairing, pager: EXPLAIN, two rows side by side, a row in the pager
- commands: the line that runs any action by name
- explaining, exporting, saving, background: the work itself, in threads
"""
