"""The terminal interface.

    web/         the same screen in a browser
    app.py       reads and draws ten times a second, and ends
    keyboard.py  Escape and the key after it
    screen.py    the only screen: passes keys, clicks and messages to the objects that act on them
    actions/     the actions: filter, go, copy, save, mark, explain, compare
    areas.py     the areas: which are on display, and which has the focus
    panes/       the timeline and the tables
    widgets/     the areas around them, and their common parts
    model/       the contents, without a terminal

Each imports those below it only.
"""
