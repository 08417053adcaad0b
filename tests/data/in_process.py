"""A decoder in the tests' own process, for tests that are not about processes: starting one takes 0.3 s."""

import warnings

from data.image_files import decode_worker
from data.system.errors import UserError


class InProcess:
    """A stand-in for `WorkerProcess`."""

    def __init__(self, *_: object) -> None:
        self._decoder = decode_worker.FileDecoder()

    def ask(self, request: bytes, seconds: float, most: int) -> tuple[bool, bytes]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of much that it can still read
                (content,) = self._decoder.answer(request)
        except UserError as error:
            return False, str(error).encode(errors="surrogatepass")
        assert len(content) <= most
        return True, content

    def kill(self) -> None:
        self._decoder.close()

    close = kill
