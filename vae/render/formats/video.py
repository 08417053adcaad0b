"""MP4 (H.264, AAC) and WebM (VP9, Opus), encoded by ffmpeg frame by frame.

An odd side gains a pixel, because the colour planes have half the size of the picture. The index of an MP4 comes before
its frames, so that a browser plays the file while it is loading.
"""

import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from vae.render.formats import sound
from vae.render.formats.frame import Frame, frame_rate

# stated in the file, for players guess the colours of a video that does not (ITU-T H.273)
_BT709, _LIMITED_RANGE = 1, 1


def encode_video(
    path: Path,
    frames: Iterator[Frame],
    fps: float,
    container: str,
    codec: str,
    sound_codec: str,
    audio: Path | None = None,
    **options: str | int,
) -> None:
    """Writes frames, and the sound of a file, by ffmpeg's container and codecs; other options are the video codec's."""
    import av  # imported late: only videos need it, and it takes time

    even = (np.pad(frame, [(0, side % 2) for side in frame.shape[:2]] + [(0, 0)], mode="edge") for frame in frames)
    first, rate = next(even), frame_rate(fps)
    flags = {"fflags": "+bitexact"}  # without it a WebM holds random identifiers
    if container == "mp4":
        flags["movflags"] = "+faststart"
    with av.open(path, "w", format=container, options=flags) as file:
        stream = file.add_stream(codec, rate, {name: str(value) for name, value in options.items()})
        assert isinstance(stream, av.VideoStream)
        (stream.height, stream.width), stream.pix_fmt = first.shape[:2], "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        track = sound.encoded(audio, sound.add_sound_stream(file, sound_codec)) if audio else iter(())
        until = 0.0
        for index, frame in enumerate(chain([first], even)):
            while until <= index / rate:  # so that neither waits in memory for the other
                until, packets = next(track, (math.inf, []))
                file.mux(packets)
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            file.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace=_BT709)))
        file.mux(stream.encode())
        for _, packets in track:
            file.mux(packets)
