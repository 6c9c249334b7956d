"""One line of progress to the person at the terminal; the library's only way to speak outside the command line."""

import logging
import os
import sys

logger = logging.getLogger("zoo")


def say(text: str) -> None:
    """Log a line at level INFO; :func:`speak` makes such lines visible."""
    logger.info(text)


class _Terminal(logging.Handler):
    """Writes to whatever is standard error at the moment, which may change within a process."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(record.getMessage() + "\n")


def speak() -> None:
    """Show what the zoo says on standard error: called by the command line and by recipes, never on import.

    Of several processes that train together the first alone speaks.
    """
    if not logger.handlers and int(os.environ.get("RANK", "0")) == 0:
        logger.addHandler(_Terminal())
        logger.setLevel(logging.INFO)
        logger.propagate = False
