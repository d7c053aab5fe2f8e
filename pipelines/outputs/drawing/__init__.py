"""Drawing faces on frames: curves through the parts, points, boxes and ids, on an overlay that is blended in."""
