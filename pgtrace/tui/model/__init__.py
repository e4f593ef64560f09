"""What the screen shows, without a terminal: nothing in this room imports Textual, so all of it can be tested as plain functions.

- view: the state that everything shares, and the tick that brings it up to the trace
- listing, filtering, groups, folds, sums: which rows are lines of the timeline, and what a fold adds up to
- survey, counted, rates: what is known of all rows, of those that match, of the last minute
- columns, bands, axis: how a width, a height and a span of time are shared out
- cells, figures, rowtext, theme: texts, numbers and colours
- keys: the table of keys; asking, filterline, moving: questions in the last line
- remembered, savedfilters: what outlives the screen
"""
