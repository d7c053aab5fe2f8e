"""Frame sources: video files, network streams and image sequences, opened with `vtrack.pipelines.sources.open.open_source`.

A source yields upright RGB frames with the decoder's timestamps, marks scene cuts, and skips what cannot be decoded.
"""
