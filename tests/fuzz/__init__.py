"""Random damage: `python -m tests.fuzz --minutes 10 --seed 1` feeds broken files, messages and moments to vtrack.

Every case is reproducible by its name (`--case videos:17`). What counts is that the answer is right or an error of the
project's own: no traceback, no hang, no absurd number in a table, no temporary file left behind.
"""
