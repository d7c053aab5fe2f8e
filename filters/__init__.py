"""Filters of moving points in pure NumPy: Kalman filter, RTS smoother, One-Euro filter, rigid motion.

They know nothing of faces or video, and work for any tracked points.
"""
