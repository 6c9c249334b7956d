"""From a generator to a file, block by block: memory stays bounded whatever the number of samples."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.atomic import atomic_file
from zoo.errors import DataError, OptionError

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
    table: str | None = None,
    partition_rows: int | None = None,
) -> int:
    """Sample and write to a file, a folder of parts or a database; what is there is complete or what was there before.

    Parameters
    ----------
    generator
        A ready generator.
    n
        Number of samples.
    path
        The file. Tables and texts go to ``.parquet`` and ``.csv`` block by block; other suffixes are those of the
        modality's ``NativeForm.write``, which needs all samples at once. A folder takes parts, see
        :func:`zoo.data.parts.export_parts`; the SQLAlchemy address of a database a new table in one transaction.
        Related tables go to a folder, one file each.
    conditions, seed, options
        As in ``Generator.sample``.
    progress
        Show a bar; by default when standard error is a terminal.
    table
        The table of a database.
    partition_rows
        Samples of each part.

    Returns
    -------
    int
        Samples that a stopped run had left in the folder.

    Raises
    ------
    DataError
        If it cannot be written, or there is no room for so many samples.
    """
    from zoo.data.parts import PART_ROWS, export_parts, is_parts
    from zoo.data.source import is_address

    if is_address(path):
        _to_base(generator, n, path, table, partition_rows, (conditions, seed, options or {}), progress)
        return 0
    if table is not None:
        raise OptionError(f"--table {table} is for SQL addresses such as sqlite:///file.db; {path} is none")
    if not generator.native and is_parts(path, partition_rows):
        rows = PART_ROWS if partition_rows is None else partition_rows
        about: Any = {"conditions": conditions, "seed": seed, "options": options, "progress": progress}
        return export_parts(generator, n, path, rows=rows, **about)
    blocks = generator._sized_blocks(n, conditions, seed, options or {})
    suffix = Path(path).suffix.lower()
    streamed = not generator.native and generator.modality in ("tabular", "text") and suffix in (".parquet", ".csv")
    if not generator.native:
        make = generator._block_maker(n, conditions, seed, options or {})
        check_room(generator, n, path, make, in_memory=not streamed)
    shown = tracked(blocks, max(1, -(-n // generator.block_size)), progress)
    if streamed:
        with atomic_file(path) as temporary:
            (_to_parquet if suffix == ".parquet" else _to_csv)(generator, shown, temporary)
    else:
        generator.form.write(generator.form.concat(list(shown)), path)
    return 0


def _to_base(
    generator: "Generator",
    n: int,
    address: str,
    table: str | None,
    partition_rows: int | None,
    asked: tuple[Any, int | None, Mapping[str, Any]],
    progress: bool | None,
) -> None:
    from zoo.data.table_sql import write_sql

    if generator.native or generator.modality not in ("tabular", "text") or partition_rows is not None:
        what = "has no parts" if partition_rows is not None else f"takes no data of modality {generator.modality!r}"
        raise OptionError(f"a database {what}; write to a file")
    blocks = generator._sized_blocks(n, *asked)
    shown = tracked(blocks, max(1, -(-n // generator.block_size)), progress)
    write_sql(shown, generator.schema, address, table)


_LOOKED_AT = 2_000_000  # samples that fit everywhere


def check_room(generator: "Generator", n: int, path: str, make: Any, *, in_memory: bool = False) -> None:
    """Refuse what the disk, or the memory, cannot hold, before hours of sampling; measured on the first block.

    Raises
    ------
    DataError
        With what is needed and what there is.
    """
    import io

    if n <= _LOOKED_AT or generator.modality not in ("tabular", "text"):
        return
    import pyarrow.parquet as pq

    from zoo.data.table_io import to_arrow

    block = make(0)
    held = 2 * int(block.memory_usage(deep=True).sum()) * n // len(block)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else held
    if in_memory and held > memory:
        raise DataError(
            f"{n:,} samples need about {_bytes(held)} of memory in this format, and the machine has {_bytes(memory)}; "
            "write .parquet, .csv or a folder, which are streamed"
        )
    folder = next(
        p for p in (Path(path).expanduser().absolute(), *Path(path).expanduser().absolute().parents) if p.is_dir()
    )
    free = shutil.disk_usage(folder).free
    if path.lower().endswith(".parquet") or not Path(path).suffix:
        file = io.BytesIO()
        pq.write_table(to_arrow(block), file, compression="zstd")
        size = file.tell()
    else:
        text = io.StringIO()
        from zoo.data.table_csv import write_csv_rows

        write_csv_rows(block, text)
        size = len(text.getvalue())
    needed = size * n // len(block)
    if needed > free:
        raise DataError(
            f"{n:,} samples need about {_bytes(needed)}, and {folder} has {_bytes(free)} free; ask for fewer, or write "
            "elsewhere"
        )


def _bytes(size: int) -> str:
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        size_of = size / 1000
        if size_of < 1000 or unit == "PB":
            return f"{size_of:,.0f} {unit}" if size_of >= 10 else f"{size_of:.1f} {unit}"
        size = int(size_of)
    raise AssertionError


def tracked(items: Iterator[Any], total: int, progress: bool | None, what: str = "sampling") -> Iterator[Any]:
    """The items, with a bar on standard error if ``progress``, or if that is a terminal."""
    if not (sys.stderr.isatty() if progress is None else progress):
        return items
    from rich.console import Console
    from rich.progress import track

    return iter(track(items, description=what, total=total, console=Console(stderr=True)))


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
    from zoo.data.table_csv import write_csv_rows

    with open(path, "w", encoding="utf-8", newline="") as file:
        for i, block in enumerate(blocks):
            write_csv_rows(block, file, header=i == 0)
