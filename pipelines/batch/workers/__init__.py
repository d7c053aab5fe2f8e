"""Who does the work of a batch: processes on this machine, actors on a cluster, one model for all."""
