"""The screen in a browser: `pgtrace open --web`.

    server.py    the page and its WebSocket on loopback, by textual-serve; who may ask for them
    visitor.py   the process of one visitor: this very screen, read only
    page/        the page

server.py is the only module here that imports aiohttp and textual_serve (extra `web`).
"""
