"""Ctrl-C and SIGTERM during training: finish the step, save, then leave."""

import os
import signal
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Self

from zoo.terminate import terminate


class Signals:
    """Remembers the first Ctrl-C (or SIGTERM) for the end of the step; a second Ctrl-C interrupts at once.

    Handlers that somebody else installed are left alone (the command line's own gives way), as are signals that are
    ignored (``nohup``), and all of them in threads other than the main one, where Python allows no handler.
    """

    def __init__(self) -> None:
        self.received = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGTERM)
            if handler is not None:  # of C code, which Python cannot put back
                self._previous[signal.SIGTERM] = handler  # Lightning leaves its own where its clean-up fails
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._previous[signal.SIGINT] = signal.signal(signal.SIGINT, self._handle)
        return self

    def take_sigterm(self) -> None:
        """Replace the handler that Lightning installs at its start: under several processes it begins a broadcast
        from within the handler, where the other processes may be in another collective."""
        if self._previous.get(signal.SIGTERM) in (signal.SIG_DFL, terminate):
            signal.signal(signal.SIGTERM, self._handle)

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received:
            raise KeyboardInterrupt
        self.received = True

    def rescue_path(self) -> Path:
        """Where an interrupted run without ``checkpoint_dir`` leaves its last checkpoint: a fresh temporary folder."""
        # One name for all processes of a run; only rank 0 writes.
        return (
            Path(tempfile.mkdtemp(prefix="zoo-interrupted-")) / "last.ckpt"
            if os.environ.get("RANK", "0") == "0"
            else Path(tempfile.gettempdir()) / "last.ckpt"
        )
