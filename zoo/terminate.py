"""SIGTERM and a closed terminal end a command as Ctrl-C does: temporary files are removed on the way out."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Terminated(KeyboardInterrupt):
    """The process was asked to end by a signal other than Ctrl-C; ``args[0]`` is its number."""


def terminate(number: int, frame: FrameType | None) -> None:
    """A signal handler: raise :class:`Terminated`."""
    raise Terminated(number)


@contextmanager
def ends_tidily() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP raise :class:`Terminated`.

    Handlers that somebody else installed are left alone, as are signals that are ignored (``nohup``), and all of them
    in threads other than the main one, where Python allows no handler.
    """
    previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            if signal.getsignal(number) is signal.SIG_DFL:
                previous[number] = signal.signal(number, terminate)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
