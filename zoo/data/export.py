"""From a generator to a file, block by block: memory stays bounded whatever the number of samples."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError, ZooError

if TYPE_CHECKING:
    from zoo.generator import Generator


def export(
    generator: "Generator",
    n: int,
    path: str,
    *,
    conditions: Any = None,
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> None:
    """Sample and write to a file, atomically.

    Parameters
    ----------
    generator
        A ready generator.
    n
        Number of samples.
    path
        The file. Tables and texts go to ``.parquet`` and ``.csv`` block by block; other suffixes are those of the
        modality's ``NativeForm.write``, which needs all samples at once. Related tables go to a folder.
    conditions, seed, options
        As in ``Generator.sample``.
    progress
        Show a bar; by default when standard error is a terminal.
    """
    blocks = generator._sized_blocks(n, conditions, seed, options or {})
    total = max(1, -(-n // generator.block_size))
    shown = _with_progress(blocks, total) if (sys.stderr.isatty() if progress is None else progress) else blocks
    suffix = Path(path).suffix.lower()
    if not generator.native and generator.modality in ("tabular", "text") and suffix in (".parquet", ".csv"):
        with atomic_file(path) as temporary:
            (_to_parquet if suffix == ".parquet" else _to_csv)(generator, shown, temporary)
    else:
        generator.form.write(generator.form.concat(list(shown)), path)


def _with_progress(blocks: Iterator[Any], total: int) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import track

    return iter(track(blocks, description="sampling", total=total, console=Console(stderr=True)))


def _to_parquet(generator: "Generator", blocks: Iterator[Any], path: str) -> None:
    import pyarrow.parquet as pq

    from zoo.data.table_io import to_arrow

    writer = None
    try:
        for block in blocks:
            table = to_arrow(block)  # keeps pandas' dtypes in the metadata
            if writer is None:
                writer = pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table.cast(writer.schema))
    finally:
        if writer is not None:
            writer.close()


def _to_csv(generator: "Generator", blocks: Iterator[Any], path: str) -> None:
    from zoo.data.table_io import write_csv_rows

    with open(path, "w", encoding="utf-8", newline="") as file:
        for i, block in enumerate(blocks):
            write_csv_rows(block, file, header=i == 0)


@contextmanager
def atomic_file(path: str) -> Iterator[str]:
    """The name of a temporary file beside ``path`` that takes its place when the block ends without an error.

    Raises
    ------
    DataError
        If the folder cannot be written or the disk is full; ``path`` is then as it was.
    """
    target = Path(path).expanduser()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
        os.close(descriptor)
    except OSError as error:
        raise DataError(f"cannot write {target}: {error.strerror or error}; choose a writable folder") from error
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes it private
        os.replace(temporary, target)
    except OSError as error:
        if isinstance(error, ZooError):  # such as a download that broke off
            raise
        raise DataError(f"cannot write {target}: {error.strerror or error}; check the space left") from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
