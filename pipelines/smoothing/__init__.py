"""Temporal smoothing of faces: the motion of the head and that of the parts are filtered separately.

`smoother` smooths results frame by frame, with or without look-ahead.
"""
