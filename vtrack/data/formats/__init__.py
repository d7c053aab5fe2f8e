"""Readers of the files in which data sets are published, one module for each format."""
