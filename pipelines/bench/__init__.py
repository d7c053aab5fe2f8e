"""Benchmarks of whole programs (vtrack, its decoder and encoder alone, mediapipe) and of the smoothing filters.

Each program runs in its own process; `runner` starts them, `report` prints and plots the results, and `smoothing` compares
the filters on faces of known motion.
"""
