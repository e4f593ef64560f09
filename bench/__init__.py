"""What standing in the path costs: `python -m bench` prints the table of docs/costs.md."""
