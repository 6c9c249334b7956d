"""Files and folders that take their place in one step: an error, Ctrl-C or a kill leaves what was there before.

What is being written lies beside its target under the name ``.<target>.zoo-<eight letters><suffix>`` and is locked for
as long as its process lives. ``kill -9`` gives a process no time to tidy up; so the next one that writes to the same
target removes what bears such a name and is locked by nobody. A lock, and not a process number, because numbers are
given again, and mean nothing to a container or a machine that shares the folder. Where a file system has no locks,
nothing is removed.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from zoo.errors import DataError, ZooError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_FOLDER_SUFFIX = ".tmp"


def write_error(target: Path, error: OSError) -> DataError:
    """An error of the operating system as one of the zoo: the target, the reason, the remedy."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "free some space, or choose another disk" if full else "choose a writable folder"
    return DataError(f"cannot write {target}: {error.strerror or error}; {remedy}")


@contextmanager
def atomic_file(path: str) -> Iterator[str]:
    """The name of a temporary file beside ``path`` that takes its place when the block ends without an error.

    Missing parent folders are made; after an error those are gone again.

    Raises
    ------
    DataError
        If the folder cannot be written or the disk is full; ``path`` is then as it was.
    """
    target = Path(path).expanduser()
    with temporary_beside(target) as temporary:
        yield str(temporary)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # it was made for its owner alone
        os.replace(temporary, target)


@contextmanager
def temporary_beside(target: Path, *, folder: bool = False) -> Iterator[Path]:
    """A new file (or folder) beside ``target``, which the block moves to its place; what it leaves there is removed.

    Raises
    ------
    DataError
        For an error of the file system.
    """
    suffix = _FOLDER_SUFFIX if folder else target.suffix
    try:
        with ExitStack() as stack:
            stack.enter_context(_parents(target))
            _remove_stale(target, suffix, folder)
            temporary = stack.enter_context(_created(target, suffix, folder))
            yield temporary
    except OSError as error:
        if isinstance(error, (ZooError, ConnectionError, TimeoutError)) or error.errno is None:
            raise  # a download that broke off, or a server's answer
        raise write_error(target, error) from error


@contextmanager
def _parents(target: Path) -> Iterator[None]:
    """Make the folders above ``target``; after an error take away those that were made, where they are empty."""
    missing = [p for p in target.absolute().parents if not p.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):  # one was not made, or somebody else put something there
            for parent in missing:
                parent.rmdir()
        raise


@contextmanager
def _created(target: Path, suffix: str, folder: bool) -> Iterator[Path]:
    """Make the temporary file or folder and hold its lock; at the end remove whatever bears its name."""
    prefix, lock, path = f".{target.name}.zoo-", None, None
    try:
        while lock is None:
            if folder:
                path = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=target.parent))
            else:
                descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=target.parent)
                os.close(descriptor)
                path = Path(name)
            lock = _lock(path, wait=True)
            if lock is None and path.exists():
                break  # no locks here; otherwise another process took it for a stale one before it was locked
        assert path is not None
        yield path
    finally:
        if path is not None:
            _remove(path)
        if lock is not None:
            os.close(lock)


def _lock(path: Path, *, wait: bool = False) -> int | None:
    """A descriptor that holds the exclusive lock of what lies at ``path``; None if it cannot be had."""
    if fcntl is None:
        return None
    descriptor = None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except OSError:
        pass  # held by another process, gone by now, or a file system without locks
    if descriptor is not None:
        os.close(descriptor)
    return None


def _remove_stale(target: Path, suffix: str, folder: bool) -> None:
    """Remove what killed processes left of the same target and kind."""
    name = re.compile(rf"\.{re.escape(target.name)}\.zoo-[a-z0-9_]{{8}}{re.escape(suffix)}")
    with os.scandir(target.parent) as entries:
        found = [e for e in entries if name.fullmatch(e.name) and e.is_dir(follow_symlinks=False) == folder]
    for entry in found:
        lock = None if entry.is_symlink() else _lock(Path(entry.path))
        if lock is not None:
            with suppress(OSError):  # another user's
                _remove(Path(entry.path))
            os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
