"""The process at work: CPU cores (`cores`), threads that overlap work (`threads`), and time per stage (`stopwatch`).

Pipelines, models and training use it; it imports nothing of the program.
"""
