"""The comparison of two tables of one video: points in common, faces in pairs, distances, ids, jitter, worst frames."""
