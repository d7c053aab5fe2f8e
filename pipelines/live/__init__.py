"""Faces in a live picture: cameras, the newest frame, a window, a page in the browser, recordings."""
