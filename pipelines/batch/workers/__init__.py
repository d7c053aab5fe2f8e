"""Workers of a batch: processes of this machine (`pool`) or actors of a Ray cluster (`cluster`). `dispatch` gives them jobs.

`worker` is what each of them does with a job, and `model_server` runs one landmark model for all workers of a machine.
"""
