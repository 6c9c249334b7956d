"""From a generator to a folder of Parquet files, which goes on where it was stopped.

Each part holds a fixed range of the sample's rows and appears complete or not at all. A manifest, written first, says
what was asked: the generator (by the hash of its state), number of rows, seed, conditions, options, rows a part. The
same request again keeps the parts that are there and makes the others; another request is refused. Blocks depend on
(seed, number) alone, so what a part holds does not depend on when it was made, and joined in the order of their names
the parts are the sample, whatever their size.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.atomic import atomic_file
from zoo.data.export import check_room, tracked
from zoo.data.table_csv import one_line
from zoo.errors import DataError, OptionError
from zoo.random import check_seed

if TYPE_CHECKING:
    import pandas as pd

    from zoo.generator import Generator

PART_ROWS = 1_000_000
_MAX_PARTS = 100_000
MANIFEST = "_manifest.json"  # readers of Parquet folders pass over names that begin so


def export_parts(
    generator: "Generator",
    n: int,
    folder: str | Path,
    *,
    rows: int = PART_ROWS,
    conditions: Any = None,
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> int:
    """Sample into a folder of Parquet files; called again after a stop, go on.

    Parameters
    ----------
    generator
        A ready generator of tables or texts.
    n
        Number of samples.
    folder
        Where to; made if it is not there. What it holds must be from the same request.
    rows
        Samples of each part, the last one's excepted; at least 1.
    conditions, seed, options
        As in ``Generator.sample``. A request without a seed goes on with the one that was drawn for it.
    progress
        Show a bar; by default when standard error is a terminal.

    Returns
    -------
    int
        Samples that were there already.

    Raises
    ------
    DataError
        If the folder holds something else, cannot be written, or its disk has too little room.
    """
    options = dict(options or {})
    if generator.modality not in ("tabular", "text"):
        raise OptionError(f"parts hold tables or texts, not data of modality {generator.modality!r}")
    if isinstance(rows, bool) or not isinstance(rows, (int, np.integer)) or rows < 1:
        raise OptionError(f"rows of a part must be a whole number of at least 1, not {rows!r}")
    generator._sized_blocks(n, conditions, seed, options)  # refuse bad arguments before anything is written
    target = Path(folder).expanduser()
    request = {
        "format_version": 1,
        "generator": generator.name,
        "state": state_digest(generator),
        "n": int(n),
        "rows": int(rows),
        "conditions": plain_request(conditions),
        "options": plain_request(options),
    }
    count = max(1, -(-int(n) // int(rows)))
    if not target.exists():
        check_room(generator, int(n), str(target), generator._block_maker(int(n), conditions, seed, options))
    if count > _MAX_PARTS:
        raise OptionError(f"{n:,} samples in parts of {rows:,} are {count:,} files, at most {_MAX_PARTS:,} are written")
    seed = _open_folder(target, request, seed)
    make = generator._block_maker(int(n), conditions, seed, options)
    width = max(5, len(str(count - 1)))
    parts = [(i * rows, min(n, (i + 1) * rows), target / f"part-{i:0{width}d}.parquet") for i in range(count)]
    missing = [part for part in parts if not _is_whole(part[2], part[1] - part[0])]
    check_room(generator, sum(stop - start for start, stop, _ in missing), str(target), make)
    blocks = _Blocks(generator, make)
    for part in tracked(iter(missing), len(missing), progress, "parts"):
        _write_part(blocks, *part)
    return int(n) - sum(stop - start for start, stop, _ in missing)


def _open_folder(target: Path, request: dict[str, Any], seed: int | None) -> int:
    """Check a folder against the request, or begin it; returns the seed."""
    path = target / MANIFEST
    if path.exists():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            kept = int(known.pop("seed"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} cannot be read ({one_line(error)}); choose another folder") from error
        asked = json.loads(json.dumps(request))
        other = next((key for key in asked if known.get(key) != asked[key]), None)
        if other is None and seed is not None and seed != kept:
            other, known, asked = "seed", {"seed": kept}, {"seed": seed}
        if other is not None:
            if other == "state":
                raise DataError(f"{target} holds samples of another generator than this {request['generator']}")
            was = json.dumps(known.get(other))
            raise DataError(
                f"{target} holds samples of another request: its {other} is {was}, not {json.dumps(asked[other])}; "
                "ask the same again to go on, or choose another folder"
            )
        for left in target.glob(".part-*"):  # of a run that was killed
            left.unlink()
        return kept
    if target.is_dir() and any(target.iterdir()):
        raise DataError(f"{target} is not empty and holds no {MANIFEST}; choose another folder")
    if target.exists() and not target.is_dir():
        raise DataError(f"{target} is a file; name a folder for the parts")
    seed = check_seed(seed)
    with atomic_file(str(path)) as temporary:
        Path(temporary).write_text(json.dumps({**request, "seed": seed}, indent=1) + "\n", encoding="utf-8")
    return seed


def _is_whole(path: Path, rows: int) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        return False
    try:
        return bool(pq.read_metadata(path).num_rows == rows)
    except (OSError, pa.ArrowException):  # cut by a crash of the machine: made again
        return False


class _Blocks:
    """Blocks in order; the last one is kept, as two parts may share it."""

    def __init__(self, generator: "Generator", make: Any) -> None:
        self.form, self.size, self.make = generator.form, generator.block_size, make
        self.index, self.block = -1, None

    def rows(self, start: int, stop: int) -> "Iterator[pd.DataFrame]":
        """Rows ``start`` to ``stop``, a block at a time."""
        for index in range(start // self.size, max(start // self.size + 1, -(-stop // self.size))):
            if index != self.index:
                self.index, self.block = index, None  # frees the old one first
                self.block = self.make(index)
            first = index * self.size
            yield self.form.slice(self.block, max(0, start - first), min(self.size, stop - first))


def _write_part(blocks: _Blocks, start: int, stop: int, path: Path) -> None:
    import pyarrow.parquet as pq

    from zoo.data.table_io import to_arrow

    with atomic_file(str(path)) as temporary:
        writer = None
        try:
            for block in blocks.rows(start, stop):
                table = to_arrow(block)
                if writer is None:
                    writer = pq.ParquetWriter(temporary, table.schema, compression="zstd")
                writer.write_table(table.cast(writer.schema))
        finally:
            if writer is not None:
                writer.close()


def state_digest(generator: "Generator") -> str:
    """SHA-256 of a generator's configuration, schema and state: what its samples are a function of."""
    digest = hashlib.sha256()
    plain = [generator.name, generator.config, generator.schema.to_dict(), generator._state(), generator.block_size]
    digest.update(json.dumps(plain, sort_keys=True, default=repr).encode())
    for name, array in sorted(generator._arrays().items()):
        digest.update(f"\0{name} {array.dtype.str} {array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def plain_request(value: Any) -> Any:
    """Conditions or options as JSON data in which different requests differ."""
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        from zoo.data.fingerprint import fingerprint

        return {"table": fingerprint(value)}
    if isinstance(value, Mapping):
        return {str(k): plain_request(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return {"range": [plain_request(v) for v in value]}
    if isinstance(value, (set, frozenset)):
        return sorted((plain_request(v) for v in value), key=repr)
    if isinstance(value, (list, np.ndarray)):
        return [plain_request(v) for v in value]
    value = value.item() if isinstance(value, np.generic) else value
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def is_parts(path: str, rows: int | None) -> bool:
    """Whether an output is a folder of parts: rows of a part are given, or it is written as a folder."""
    return rows is not None or path.endswith(("/", "\\")) or Path(path).expanduser().is_dir()
