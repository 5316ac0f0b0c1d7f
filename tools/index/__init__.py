"""What the code holds, read from its syntax: symbols, imports, and a map of what matters."""
