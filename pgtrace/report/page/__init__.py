"""Reports as one HTML page: a file that loads nothing from any host.

- html.py: elements from text; all text is escaped.
- page.py: the document around them, with its style and a policy that allows nothing else.
"""
