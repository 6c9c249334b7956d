"""One file from its public source: streamed, its SHA-256 checked, put in place at once or not at all."""

import hashlib
import http.client
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.atomic import atomic_file
from zoo.errors import RemoteError

_CHUNK = 1 << 18  # bytes between two steps of the bar
_TIMEOUT = 60.0  # seconds without a byte


def download(url: str, path: Path, sha256: str, *, progress: bool | None = None) -> None:
    """Fetch ``url`` into the file ``path``.

    Parameters
    ----------
    url
        ``https://…`` or ``http://…``.
    path
        The file; its folder is made. It appears complete and verified, or not at all.
    sha256
        What the bytes must have, in hexadecimal.
    progress
        Show a bar; by default when standard error is a terminal.

    Raises
    ------
    RemoteError
        If the source cannot be reached, breaks off, or sends other bytes than those of the hash.
    DataError
        If ``path`` cannot be written.
    """
    digest, got = hashlib.sha256(), 0
    request = urllib.request.Request(url, headers={"User-Agent": "generative-zoo"})
    with atomic_file(str(path)) as temporary:
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
                size = answer.headers.get("Content-Length")
                total = int(size) if size and size.isdigit() else None
                with _bar(path.name, total, progress) as advance, open(temporary, "wb") as file:
                    for chunk in _chunks(answer):
                        file.write(chunk)
                        digest.update(chunk)
                        got += len(chunk)
                        advance(len(chunk))
        except urllib.error.HTTPError as error:
            raise RemoteError(f"cannot fetch {url}: the server answers {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            raise RemoteError(f"cannot fetch {url}: {error.reason}; is there a network?") from error
        except (http.client.HTTPException, ConnectionResetError, TimeoutError) as error:
            raise RemoteError(f"cannot fetch {url}: the server hung up ({error}); try again") from error
        if total is not None and got != total:
            raise RemoteError(f"cannot fetch {url}: the transfer broke off after {got:,} of {total:,} bytes; try again")
        if digest.hexdigest() != sha256:
            raise RemoteError(
                f"{url} is not the file that the zoo knows: its SHA-256 is {digest.hexdigest()}, expected {sha256}; "
                "it was changed at its source or on the way, and was thrown away"
            )


def _chunks(answer: Any) -> Iterator[bytes]:
    """The body in pieces; a connection that breaks simply ends it, which the length and the hash then show."""
    while True:
        try:
            chunk = answer.read(_CHUNK)
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            raise RemoteError(f"cannot fetch {answer.url}: the transfer broke off ({error}); try again") from error
        if not chunk:
            return
        yield chunk


@contextmanager
def _bar(name: str, total: int | None, progress: bool | None) -> Iterator[Any]:
    """A callable that moves a progress bar by so many bytes."""
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=total)
        yield lambda size: bar.advance(task, size)
