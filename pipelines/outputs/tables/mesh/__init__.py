"""Dumps of mediapipe's face mesh, in the forms that people write them, read as tables of the layout `mesh`."""
