"""What keys and commands do beyond looking: save, export, mark, explain, compare, follow what is related."""
