"""From a generator to Hugging Face ``datasets``: in memory, or streamed block by block."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import OptionError

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

    from zoo.generator import Generator

# Shards of an endless stream. Workers and ranks share them out, so it is divisible by the usual counts of both.
_ENDLESS_SHARDS = 960


def make_dataset(
    generator: "Generator", n: int, conditions: Any, seed: int | None, options: Mapping[str, Any]
) -> "datasets.Dataset":
    """``n`` samples as a ``datasets.Dataset``; the native blocks are turned into Arrow one at a time."""
    import datasets
    import pyarrow as pa

    _check_count(n)
    schema, form = generator.schema, generator.form
    tables = [form.to_arrow(block, schema) for block in generator._blocks(int(n), conditions, seed, options)]
    features = form.features(schema)
    info = datasets.DatasetInfo(features=features)
    return datasets.Dataset(pa.concat_tables(tables).cast(features.arrow_schema), info=info)


class _BlockTables:
    """Arrow tables of the blocks of given shards; a class, so that worker processes can receive it."""

    def __init__(
        self,
        generator: "Generator",
        n: int | None,
        conditions: Any,
        seed: int | None,
        options: Mapping[str, Any],
    ) -> None:
        from zoo.random import check_seed

        self.arguments = (n, conditions, check_seed(seed), dict(options))
        self.generator = generator
        generator._block_maker(*self.arguments)  # refuse bad arguments now, not in a worker

    def shards(self) -> list[int]:
        n = self.arguments[0]
        return list(range(_ENDLESS_SHARDS if n is None else max(1, -(-n // self.generator.block_size))))

    def __call__(self, shards: list[int]) -> "Iterator[tuple[Any, pa.Table]]":
        from datasets.builder import Key

        generator, n = self.generator, self.arguments[0]
        form, schema = generator.form, generator.schema
        target = form.features(schema).arrow_schema
        make = generator._block_maker(*self.arguments)
        for shard in shards:
            index = shard
            while True:
                block = make(index, None if n is None else n - index * generator.block_size)
                yield Key(index, 0), form.to_arrow(block, schema).cast(target)
                if n is not None:
                    break
                index += _ENDLESS_SHARDS


def make_iterable_dataset(
    generator: "Generator", n: int | None, conditions: Any, seed: int | None, options: Mapping[str, Any]
) -> "datasets.IterableDataset":
    """An ``IterableDataset`` whose shards are blocks; endless when ``n`` is None."""
    import datasets
    from datasets.iterable_dataset import ArrowExamplesIterable

    if n is not None:
        _check_count(n)
        n = int(n)
    tables = _BlockTables(generator, n, conditions, seed, options)
    source = ArrowExamplesIterable(tables, {"shards": tables.shards()})
    info = datasets.DatasetInfo(features=generator.form.features(generator.schema))
    return datasets.IterableDataset(source, info=info)


def _check_count(n: Any) -> None:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
        raise OptionError(f"n={n!r} must be a whole number of at least 0")
