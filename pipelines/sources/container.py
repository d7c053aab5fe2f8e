"""Opening video files and streams with FFmpeg, files by containers of video alone."""

from __future__ import annotations

from typing import Any, cast

import av

FILE_FORMATS = (
    *("3dostr", "4xm", "apng", "asf", "asf_o", "avi", "avs2", "avs3", "bink", "cavsvideo", "cine", "dhav", "dirac"),
    *(
        "dnxhd",
        "dv",
        "evc",
        "flic",
        "flv",
        "gif",
        "gxf",
        "h261",
        "h263",
        "h264",
        "hevc",
        "ipu",
        "ivf",
        "ivr",
        "jpegxl_anim",
    ),
    *("kux", "live_flv", "lxf", "m4v", "matroska", "webm", "mjpeg", "mlv", "mov", "mpeg", "mpegts", "mpegvideo", "mxf"),
    *("nsv", "nut", "nuv", "obu", "av1", "ogg", "pmp", "pva", "r3d", "rm", "roq", "smk", "swf", "tty", "ty", "vc1"),
    *("viv", "vivo", "vvc", "wtv", "yuv4mpegpipe", "apv", "simbiosis_imx", "wav", "mp3", "flac", "aac", "caf", "aiff"),
)
"""Demuxers of files. Playlists and lists of files (`concat`, `hls`, `dash`, `sdp`) are not among them: such a file may
name any other file of the machine. Sound formats are, to say that a file holds no video."""


def open_container(
    path: Any, *, network: bool = False, timeout: tuple[float, float] | None = None, **options: Any
) -> av.container.InputContainer:
    """Open a video for reading.

    Args:
        path: Path of a file, address of a stream, or a file object, which need not seek.
        network: Whether it is an address; playlists are followed there alone.
        timeout: Seconds to wait for opening and for reading.
        options: Further arguments of `av.open`.

    Raises:
        av.FFmpegError: It cannot be opened, or is not a container of video.
    """
    demuxer = dict(options.pop("options", {}))
    if not network:
        demuxer["format_whitelist"] = ",".join(FILE_FORMATS)
    opened = av.open(path, options=demuxer, timeout=timeout, metadata_errors="replace", **options)
    return cast(av.container.InputContainer, opened)
