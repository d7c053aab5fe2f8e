"""Where frames come from: video files, streams and images, with true times and upright pictures."""
