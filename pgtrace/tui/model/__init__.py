"""What the screen shows, without a terminal: nothing here imports Textual, so all of it can be
tested as plain functions.

- view, snapshot, pace: the state that everything shares, the tick that brings it up to the trace,
  and when that waits for the traffic
- listing, filtering, matches, groups, folds, items, sums: which rows are lines of the timeline, and
  what a fold adds up to
- survey, counted, selected, rates: what is known about all rows, about those that match, and about
  the last minute
- lanes, compared: the two sides of a pooler, and two captures compared
- columns, fields, bands, axis: how widths, heights and a span of time are shared out
- cells, figures, rowtext, statement, highlight, surroundings, theme: texts, numbers and colours
- copying, definitions, gathering: what can be copied, what columns mean, and how tables fill
- keys: the table of keys; asking, filterline, moving: questions in the last line
- remembered, savedfilters, source: what outlives the screen, and where a trace comes from
"""
