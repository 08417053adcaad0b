"""Frames → the bytes of an animation, one by one where the format allows it.

    .gif                      delays in whole 1/100 s
    .webp .png .avif          animated; delays in whole 1/1000 s; their encoders take all frames at once
    .mp4 .webm                H.264 and VP9; an odd side gains a pixel, for their colour planes have half the size

Delays carry their rounding forward, so that an animation runs at its true frame rate over all. An MP4's index comes
before its frames, so that a browser plays it while it is still coming.
"""

import io
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, count
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image

from data.system.errors import UserError
from vae.render.formats.ffmpeg_files import FileToRead, FileToWrite
from vae.render.formats.frame import Frame
from vae.render.formats.gif import gif
from vae.render.formats.still_scene import is_animated, still_scene

_GIF_TICKS = 100  # a second
_NTSC = (24, 30, 48, 60, 120)  # each times 1000/1001
_ROUNDED = 0.005
# suffix: Pillow's name of the format, its options, those of a draft
_PILLOW: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    ".webp": ("WEBP", {"quality": 90, "method": 4, "kmin": 0, "kmax": 1}, {"method": 0}),  # else like frames are merged
    ".png": ("PNG", {}, {"compress_level": 1}),
    ".avif": ("AVIF", {"quality": 85, "speed": 6}, {"speed": 10}),
}
_VIDEO: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    # x264's macroblock tree now and then makes other bytes of the same frames
    ".mp4": ("libx264", {"crf": "17", "preset": "medium", "x264-params": "mbtree=0"}, {"preset": "ultrafast"}),
    ".webm": ("libvpx-vp9", {"crf": "24", "b": "0"}, {"deadline": "realtime", "cpu-used": "8", "row-mt": "1"}),
}
_BT709, _LIMITED = 1, 1  # written into the file: players guess the colours of a video that does not say (ITU-T H.273)
_LARGEST = {".webp": 16_383, ".mp4": 16_384, ".webm": 16_384}  # pixels of a side
_LONGEST_SIDE = 65_535
STREAMED = (".gif", *_VIDEO)
SUFFIXES = (*STREAMED, *_PILLOW)
# what can be given up for a smaller file, step by step: colours of a picture, quality from 100 down, or CRF from 0 up
QUALITIES: dict[str, tuple[int, ...]] = {
    ".gif": (128, 64, 32, 16),
    ".png": (256, 64, 16),
    ".webp": (75, 50, 25, 10),
    ".avif": (65, 45, 30, 15),
    ".mp4": (22, 28, 34, 40),
    ".webm": (32, 40, 48, 56),
}

Quality = int | Literal["draft"] | None


def frame_rate(fps: float) -> Fraction:
    """Frames a second, exactly: the rates of NTSC are written with two or three decimals.

    >>> frame_rate(29.97), frame_rate(23.976), frame_rate(12.5)
    (Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25, 2))
    """
    exact = (Fraction(1000 * whole, 1001) for whole in _NTSC)
    return next((rate for rate in exact if abs(rate - fps) < _ROUNDED), Fraction(fps).limit_denominator(1001))


def delays(fps: float, ticks: int) -> Iterator[int]:
    """Whole delays in ticks, without end, whose running sum is never off by more than half a tick.

    >>> from itertools import islice
    >>> list(islice(delays(30, 100), 4))
    [3, 4, 3, 3]
    """
    end, rate = 0, frame_rate(fps)
    for shown in count(1):
        start, end = end, round(ticks * shown / rate)
        yield end - start


def that_fit(frames: Iterable[Frame], suffix: str) -> Iterator[Frame]:
    """The same frames. Raises `UserError` at once if there are none or they are larger than the format allows."""
    rest = iter(frames)
    if (first := next(rest, None)) is None:
        raise UserError("frames: there are none; give at least one")
    height, width, _ = first.shape
    if max(height, width) > _LARGEST.get(suffix, _LONGEST_SIDE):
        raise UserError(f"{width}×{height} pixels are too many for {suffix}; give a smaller --size or fewer tiles")
    return chain([first], rest)


def encode(frames: Iterable[Frame], suffix: str, fps: float, quality: Quality = None) -> bytes:
    """An animation as bytes, see `encode_into`."""
    file = io.BytesIO()
    encode_into(file, that_fit(frames, suffix), suffix, fps, quality)
    return file.getvalue()


def encode_into(file: BinaryIO, frames: Iterable[Frame], suffix: str, fps: float, quality: Quality = None) -> None:
    """Writes an animation into a file.

    Args:
        file: open for writing, at its beginning.
        frames: (H, W, 3) uint8, all of one size, at least one; GIFs and videos take them one by one.
        suffix: one of `SUFFIXES`.
        fps: frames a second.
        quality: one of `QUALITIES` of the suffix; None is the usual one, and a draft is encoded in a hurry.
    """
    if suffix in _VIDEO:
        _encode_video(file, frames, suffix, fps, quality)
    elif suffix in _PILLOW:
        _encode_pictures(file, frames, suffix, fps, quality)
    else:
        timed = zip(frames, delays(fps, _GIF_TICKS), strict=False)
        file.writelines(gif(timed, quality if isinstance(quality, int) else 256, quality == "draft"))


def _encode_pictures(file: BinaryIO, frames: Iterable[Frame], suffix: str, fps: float, quality: Quality) -> None:
    name, options, hurried = _PILLOW[suffix]
    options = options | (hurried if quality == "draft" else {})
    first, *rest = map(Image.fromarray, frames)
    durations = [delay for _, delay in zip([first, *rest], delays(fps, 1000), strict=False)]
    if isinstance(quality, int) and suffix == ".png":
        few = (image.quantize(quality, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE) for image in [first, *rest])
        first, *rest = (image.convert("RGB") for image in few)
    elif isinstance(quality, int):
        options = options | {"quality": quality}
    saved = io.BytesIO()
    first.save(saved, name, save_all=True, append_images=rest, duration=durations, loop=0, **options)
    content = _timeless(saved.getvalue()) if suffix == ".avif" else saved.getvalue()
    if rest and suffix != ".avif" and not is_animated(content):
        content = still_scene(content, suffix, durations)
    file.write(content)


def _timeless(content: bytes) -> bytes:
    """An AVIF sequence without the time of its writing, so that like frames make like bytes (ISO 14496-12)."""
    plain = bytearray(content)
    for box in (b"mvhd", b"tkhd", b"mdhd"):
        start = content.find(box) + len(box)
        if start >= len(box):
            size = 16 if plain[start] == 1 else 8  # two times; a version and three bytes of flags come before them
            plain[start + 4 : start + 4 + size] = bytes(size)
    return bytes(plain)


def _encode_video(file: BinaryIO, frames: Iterable[Frame], suffix: str, fps: float, quality: Quality) -> None:
    import av  # its start-up is spared to those who write no video

    codec, options, hurried = _VIDEO[suffix]
    options = options | (hurried if quality == "draft" else {})
    if isinstance(quality, int):
        options = options | {"crf": str(quality)}
    even = (np.pad(frame, [(0, side % 2) for side in frame.shape[:2]] + [(0, 0)], mode="edge") for frame in frames)
    first = next(even)
    # bitexact: without it a WebM holds random identifiers
    how = {"fflags": "+bitexact", **({"movflags": "+faststart"} if suffix == ".mp4" else {})}
    target = FileToWrite(file)
    with av.open(target, "w", format=suffix[1:], options=how, io_open=lambda *_: FileToRead(target)) as container:
        stream = container.add_stream(codec, rate=frame_rate(fps), options=options)
        assert isinstance(stream, av.VideoStream)
        (stream.height, stream.width), stream.pix_fmt = first.shape[:2], "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        for frame in chain([first], even):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace=_BT709)))
            target.check()
        container.mux(stream.encode())
    target.check()
