"""Steady faces out of trembling ones: the motion of the head and of the parts, filtered apart."""
