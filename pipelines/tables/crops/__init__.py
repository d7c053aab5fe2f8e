"""Aligned crops of the faces of a table: the geometry, and the pictures or videos with their matrices."""
