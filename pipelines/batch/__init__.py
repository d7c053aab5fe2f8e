"""Batches: many videos, tracked in parallel by worker processes or on a cluster.

`run.BatchRun` is the entry point; the state of each video is kept beside its outputs. `files` finds the videos, `state` knows
which are done, `schedule` orders the jobs, `workers` do them, `splitting` cuts long videos, and `summary` and `merge` combine
the outputs.
"""
