"""Sounds: decoded by ffmpeg for the timing of an animation, and encoded beside the frames of a video."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from data.system.errors import UserError
from data.system.files import check_regular_file, user_path
from data.system.spelling import suggest_file
from vae.latent.onsets import Samples

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, Packet

RATE = 22_050  # samples a second that the timing looks at
_CODED_RATE = 48_000  # the highest of Opus, and one of AAC
_LONGEST = 20 * 60  # s; a minute of samples is 5 MB
_SILENT = 0.001  # of the largest value that a sample can have
_LONGEST_REASON = 200


@dataclass(frozen=True, eq=False)
class Sound:
    """A sound file and what is in it.

    Attributes:
        file: anything with a sound that ffmpeg decodes.
        samples: (N,), of all its channels together, 22,050 a second; the largest is 1 or −1.
    """

    file: Path
    samples: Samples

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE


def read_sound(name: str) -> Sound:
    """The sound of that file; a progress bar shows its samples.

    Raises:
        UserError: there is no such file, or no sound in it that can be decoded, or it is silent or very long.
    """
    file, parts = user_path(name), []
    with tqdm(desc="Listening", unit=" samples", unit_scale=True, leave=False, delay=1) as bar:
        for frame in _decoded(file, "mono", RATE):
            parts.append(frame.to_ndarray()[0])
            bar.update(frame.samples)
    samples = np.concatenate(parts or [np.zeros(1, np.int16)]).astype(np.float32) / 2**15
    loudest = np.abs(samples).max()
    if loudest < _SILENT:
        raise UserError(f"{file}: is silent; name another sound, or leave --audio out")
    return Sound(file, samples / loudest)


def encoded(file: Path, stream: "AudioStream") -> Iterator[tuple[float, "list[Packet[AudioStream]]"]]:
    """The packets of a sound for a stream of AAC or Opus, some at a time, and the seconds that are then encoded."""
    done = 0
    for frame in _decoded(file, "stereo", _CODED_RATE):
        done += frame.samples
        yield done / _CODED_RATE, stream.encode(frame)
    yield done / _CODED_RATE, stream.encode(None)


def add_sound_stream(container: Any, codec: str) -> "AudioStream":
    """A stream in a container for `encoded`."""
    stream: AudioStream = container.add_stream(codec, rate=_CODED_RATE, layout="stereo")
    return stream


def _decoded(file: Path, layout: str, rate: int) -> Iterator["AudioFrame"]:
    """The sound of a file, 16 bits, from its first sample on. Raises `UserError` if there is none or it is too long."""
    import av  # imported late: only films with sound need it, and it takes time

    check_regular_file(file)
    alone = {"protocol_whitelist": "none"}  # a playlist could name other files, and places in a network
    with _errors(file), file.open("rb") as opened, av.open(opened, "r", options=alone) as container:
        if not container.streams.audio:
            raise UserError(f"{file}: has no sound; name a file with one")
        resampler, source, decoded = av.AudioResampler("s16", layout, rate), container.streams.audio[0], 0
        for frame in chain(container.decode(source), [None]):
            for part in resampler.resample(frame):
                part.pts, decoded = decoded, decoded + part.samples
                if decoded > _LONGEST * rate:
                    raise UserError(f"{file}: is longer than {_LONGEST // 60} minutes; cut it")
                yield part


@contextmanager
def _errors(file: Path) -> Iterator[None]:
    """Turns whatever ffmpeg raises into a `UserError` that names the file."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; {suggest_file(file, 'name a sound')}") from None
    except Exception as error:  # PyAV has a class for each of ffmpeg's errors, and raises others too
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{file}: not a sound that can be decoded ({reason[:_LONGEST_REASON]}); name another") from None
