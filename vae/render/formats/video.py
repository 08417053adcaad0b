"""MP4 (H.264) and WebM (VP9), encoded by ffmpeg frame by frame.

An odd side gains a pixel, because the colour planes have half the size of the picture. The index of an MP4 comes before
its frames, so that a browser plays the file while it is loading.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import BinaryIO

import numpy as np

from vae.render.formats.ffmpeg_files import FileToRead, FileToWrite
from vae.render.formats.format import Format, Quality
from vae.render.formats.frame import Frame
from vae.render.formats.frame_rate import frame_rate

# stated in the file, for players guess the colours of a video that does not (ITU-T H.273)
_BT709, _LIMITED_RANGE = 1, 1


@dataclass(frozen=True)
class VideoEncoder:
    """An `AnimationEncoder` that runs ffmpeg. A quality is a CRF, lower is better.

    Attributes:
        container: ffmpeg's name of the file format.
        codec: ffmpeg's name of the encoder.
        options: of the encoder.
        draft_options: of the encoder, in place of those, for drafts.
        container_options: of the file format.
    """

    container: str
    codec: str
    options: dict[str, str]
    draft_options: dict[str, str]
    container_options: dict[str, str] = field(default_factory=dict)

    def __call__(self, file: BinaryIO, frames: Iterator[Frame], fps: float, quality: Quality) -> None:
        import av  # imported late: only videos need it, and it takes time

        options = self.options | (self.draft_options if quality == "draft" else {})
        if isinstance(quality, int):
            options = options | {"crf": str(quality)}
        even = (np.pad(frame, [(0, side % 2) for side in frame.shape[:2]] + [(0, 0)], mode="edge") for frame in frames)
        first = next(even)
        # bitexact: without it a WebM holds random identifiers
        container_options = {"fflags": "+bitexact", **self.container_options}
        target = FileToWrite(file)
        with av.open(
            target, "w", format=self.container, options=container_options, io_open=lambda *_: FileToRead(target)
        ) as container:
            stream = container.add_stream(self.codec, rate=frame_rate(fps), options=options)
            assert isinstance(stream, av.VideoStream)
            (stream.height, stream.width), stream.pix_fmt = first.shape[:2], "yuv420p"
            context = stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED_RANGE
            for frame in chain([first], even):
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                container.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace=_BT709)))
                target.check()
            container.mux(stream.encode())
        target.check()


_H264 = VideoEncoder(
    "mp4",
    "libx264",
    # x264's macroblock tree now and then makes other bytes of the same frames
    {"crf": "17", "preset": "medium", "x264-params": "mbtree=0"},
    {"preset": "ultrafast"},
    {"movflags": "+faststart"},
)
_VP9 = VideoEncoder(
    "webm", "libvpx-vp9", {"crf": "24", "b": "0"}, {"deadline": "realtime", "cpu-used": "8", "row-mt": "1"}
)
MP4 = Format(".mp4", _H264, qualities=(22, 28, 34, 40), streamed=True, longest_side=16_384)
WEBM = Format(".webm", _VP9, qualities=(32, 40, 48, 56), streamed=True, longest_side=16_384)
