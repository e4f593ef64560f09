"""The contents of the screen, without a terminal. Nothing here imports Textual, so all of it can be
tested as plain functions.

- view: what the panes share, and the questions that more than one of them asks
- reading, pace, snapshot, rates: the tick that brings it up to the trace, when that waits for the
  traffic, and the numbers of the moment and of the last minute
- listing, filtering, matches, groups, folds, items, sums: which rows are lines of the timeline, and
  what a fold adds up to
- survey, variants, counted, selected: what is known about all rows and connections, and about the
  rows that match
- lanes, compared: the two sides of a pooler, and two captures compared
- columns, fields, bands, axis: how widths, heights and a span of time are shared out
- cells, figures, rowtext, statement, highlight, surroundings, theme: texts, numbers and colours
- copying, definitions, gathering: what can be copied, what columns mean, and how tables fill
- keys: the table of keys; asking, filterline, moving: questions in the last line
- remembered, savedfilters, source: what outlives the screen, and where a trace comes from
"""
