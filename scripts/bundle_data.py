"""Make the data sets that ride in the package again, from ``$ZOO_DATA``: ``python scripts/bundle_data.py``.

Writes ``zoo/data/bundled/``; the same sources and the same pyarrow give the same bytes, and any pyarrow the same data.
"""

import gzip
import os
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import zoo
from zoo.data.catalog_read import occupancy_rows, share, sms_all

BUNDLED = Path(zoo.__file__).parent / "data" / "bundled"
ADULT_ROWS = {"train": 4000, "test": 2000}


def write(table: pd.DataFrame, path: Path) -> None:
    """A small Parquet file: one row group, dictionaries, strong compression."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(arrow, path, compression="zstd", compression_level=19, row_group_size=len(table))
    print(f"{path.relative_to(BUNDLED)}: {len(table):,} rows, {path.stat().st_size:,} bytes")


def adult_sample() -> None:
    """Rows drawn from each split by the hash of their number, in their order."""
    for split, rows in ADULT_ROWS.items():
        table = zoo.load_dataset("adult", split)
        drawn = sorted(sorted(range(len(table)), key=lambda i: share(f"adult_sample:{split}", str(i)))[:rows])
        write(table.iloc[drawn].reset_index(drop=True), BUNDLED / "adult_sample" / f"{split}.parquet")


def main() -> None:
    """Write every bundled set; digits come with scikit-learn."""
    if "ZOO_DATA" not in os.environ:
        sys.exit("set ZOO_DATA to the folder that holds tabular/adult, timeseries/occupancy and text/sms_spam")
    root = Path(os.environ["ZOO_DATA"])
    adult_sample()
    for name in ("datatraining", "datatest", "datatest2"):
        content = gzip.decompress((root / "timeseries" / "occupancy" / f"{name}.txt.gz").read_bytes())
        write(occupancy_rows(content), BUNDLED / "occupancy" / f"{name}.parquet")
    content = (root / "text" / "sms_spam" / "SMSSpamCollection").read_bytes()
    write(sms_all(content), BUNDLED / "sms_spam" / "messages.parquet")


if __name__ == "__main__":
    main()
