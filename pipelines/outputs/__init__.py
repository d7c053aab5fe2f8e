"""Outputs: sinks that write results as tables, as annotated video, or as a stream to other programs.

`registry` lists the kinds of outputs. A file appears under its name only when it is complete.
"""
