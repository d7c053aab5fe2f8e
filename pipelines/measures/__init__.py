"""Facial measures: eye and mouth opening, blinks, smile width, brow raise, head pose and expressions, of tracked points.

`points` names the measures and their points, `measurer` adds them to results, and `events` compares events such as blinks.
"""
