"""How good a table is, without labels: signals of each face and second, and the error that they suggest."""
