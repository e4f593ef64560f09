"""A trace that can be asked: counters, statements, marks, drivers, rows and their details. It knows no terminal."""
