"""What source code says without being run: names, the files they come from, and the values they stand for."""
