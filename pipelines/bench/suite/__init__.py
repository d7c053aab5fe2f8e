"""The suite: clips of many kinds, run by vtrack, by another program and by the decoder alone, in turns.

`clips` makes the clips or takes them from a folder, `measure` runs the programs over them, and `report` prints and plots.
"""
