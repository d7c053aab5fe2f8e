"""Training of the face detector on composed scenes."""
