"""What the process runs on: cores, threads that overlap work, and where the time goes."""
