"""Face tracking: detects faces on key frames, locates their landmarks, and links them to tracks with stable ids.

`offline` follows the faces of files, whose next frames are known, and `online` those of live video.
"""
