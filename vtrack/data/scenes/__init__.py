"""Composed scenes with known faces, on which the face detector is trained and evaluated."""
