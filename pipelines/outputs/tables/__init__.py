"""Tables of results: what the columns are, and one module for each file format."""
