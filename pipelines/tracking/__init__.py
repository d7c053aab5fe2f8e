"""Which faces are in each frame, where their landmarks are, and which face is which."""
