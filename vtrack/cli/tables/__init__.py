"""The commands that work on tables which were written before, without a model."""
