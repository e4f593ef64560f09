"""The terminal interface.

    app.py       reads on ten times a second, has the screen drawn, and ends
    screen.py    the one screen: what its keys, clicks and messages lead to
    actions/     what keys and commands do beyond looking
    panes/       the timeline and the tables
    widgets/     the areas around them, and what all of them are made of
    model/       what is shown, without a terminal

Each imports those below it only.
"""
