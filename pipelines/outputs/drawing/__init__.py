"""Faces drawn on frames: curves through the parts, colours, sheets of pixels."""
