"""What standing in the path costs: `python -m bench` prints the README's table."""
