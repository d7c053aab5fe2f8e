"""Many videos: found in folders, worked on in processes of their own, each file's fate remembered beside its outputs.

`files` finds the videos, `ledger` knows what is done, `pool` keeps the worker processes, `worker` is what they do with one
file, `summary` and `merge` put together what came of all.
"""
