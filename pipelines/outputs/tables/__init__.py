"""Tables of results: `columns` defines the columns, and each other module writes one file format."""
