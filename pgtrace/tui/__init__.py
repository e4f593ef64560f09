"""The terminal interface.

    web/         the same screen in a browser
    app.py       reads on ten times a second, has the screen drawn, and ends
    keyboard.py  Escape and the key after it
    screen.py    the one screen: who does what its keys, clicks and messages ask for
    actions/     what is done: filter, go, copy, save, mark, explain, compare
    areas.py     which areas are on display, and which has the focus
    panes/       the timeline and the tables
    widgets/     the areas around them, and what all of them are made of
    model/       what is shown, without a terminal

Each imports those below it only.
"""
