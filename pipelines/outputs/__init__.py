"""Where results go: tables, annotated video, streams for other programs."""
