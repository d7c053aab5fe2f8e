"""Pictures as arrays: planes as video stores them, face crops, and PNG files."""
