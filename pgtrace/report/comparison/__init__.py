"""A comparison of variants as text, Markdown, HTML and JSON.

- sections.py: its tables and sentences, once for all forms.
- forms.py: text, Markdown and JSON.
- web.py: the page, with a waterfall of one unit for each variant.
"""
