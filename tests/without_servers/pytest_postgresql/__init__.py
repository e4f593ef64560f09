"""In the place of pytest-postgresql, a plug-in of an example's that imports psycopg whenever pytest
starts: where there are no drivers, pytest could not start."""
