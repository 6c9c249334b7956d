"""The catalogue: what rides in the package, layouts that agree, downloads, and the ways in which a file is wrong."""

import gzip
import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import zoo
from zoo.data import catalog_read as read
from zoo.data.catalog import dataset_info, list_datasets, load_dataset
from zoo.data.catalog_hashes import SHA256S
from zoo.data.catalog_sets import SETS
from zoo.data.catalog_types import Dataset, DatasetInfo, Layout
from zoo.data.fingerprint import fingerprint
from zoo.data.image import ImageBatch
from zoo.data.timeseries import SeriesBatch
from zoo.errors import DataError, OfflineError, RemoteError, UnknownNameError

BUNDLED = Path(zoo.__file__).parent / "data" / "bundled"


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_DATA", raising=False)
    monkeypatch.setenv("ZOO_OFFLINE", "1")


# What is known


def test_every_set_says_its_terms_and_hashes() -> None:
    assert len(SETS) == len(SHA256S) == 17
    for name in list_datasets():
        info = dataset_info(name)
        assert info.name == name
        assert info.modality in ("tabular", "timeseries", "image", "text")
        assert info.licence and info.citation and info.source.startswith("https://")
        assert set(info.sha256s) == set(info.splits) >= {"train", "test"}
        for sha in info.sha256s.values():
            assert len(sha) == 64 and int(sha, 16) > 0
        entry = SETS[name]
        for layout in (*entry.layouts, *([entry.bundled] if entry.bundled else [])):
            assert set(layout.files) == set(info.splits)
            for file, (url, sha) in layout.sources.items():
                assert url.startswith("https://") and len(sha) == 64
                assert any(file in files for files in layout.files.values())
            if layout.sources:
                assert set(layout.sources) == {f for files in layout.files.values() for f in files}


def test_sets_without_a_licence_publish_no_weights() -> None:
    forbidden = {n for n in list_datasets() if not dataset_info(n).licence_allows_weights}
    assert forbidden == {"berka", "nsl_kdd", "sst2", "ecg5000", "google_stock"}


def test_listing() -> None:
    assert list_datasets(modality="image") == ["digits", "fashion_mnist", "mnist"]
    assert list_datasets("adult*") == ["adult", "adult_sample"]
    assert list_datasets("*", "text") == ["banking77", "sms_spam", "sst2"]
    with pytest.raises(UnknownNameError, match="did you mean 'image'"):
        list_datasets(modality="images")


def test_unknown_names_show_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="no data set 'adults'; did you mean 'adult'"):
        load_dataset("adults")
    with pytest.raises(UnknownNameError, match="adult_sample has no split 'tets'; did you mean 'test'"):
        load_dataset("adult_sample", "tets")


# What rides in the package


@pytest.mark.parametrize(("split", "rows"), [("train", 4000), ("test", 2000)])
def test_adult_sample(split: str, rows: int) -> None:
    table = load_dataset("adult_sample", split)
    assert {n: str(t) for n, t in table.dtypes.items()} == read.ADULT
    assert len(table) == rows
    assert isinstance(table.index, pd.RangeIndex)
    assert set(table["income"]) == {"<=50K", ">50K"}
    assert table.columns[table.isna().any()].tolist() == ["workclass", "occupation", "native_country"]


def test_occupancy() -> None:
    train, test = load_dataset("occupancy"), load_dataset("occupancy", "test")
    assert isinstance(train, SeriesBatch)
    assert train.values.shape == (969, 60, 5) and test.values.shape == (97, 60, 5)
    assert train.channels == ("Temperature", "Humidity", "Light", "CO2", "HumidityRatio")
    assert train.static["occupancy"].value_counts().to_dict() == {"empty": 747, "occupied": 222}
    assert test.static["occupancy"].value_counts().to_dict() == {"empty": 74, "occupied": 23}
    assert train.mask.all()
    # windows start every ten minutes: one's second part is the next one's first
    assert np.array_equal(train.values[0, 10:], train.values[1, :50])
    lit = train.values[:, :, 2].mean(axis=1)
    assert lit[train.static["occupancy"] == "occupied"].mean() > 5 * lit[train.static["occupancy"] == "empty"].mean()


def test_digits() -> None:
    train, test = load_dataset("digits"), load_dataset("digits", "test")
    assert isinstance(train, ImageBatch)
    assert len(train) + len(test) == 1797
    assert train.pixels.shape[1:] == (8, 8, 1)
    assert train.pixels.max() == 255
    assert train.classes == tuple("0123456789")
    assert 0.18 < len(test) / 1797 < 0.22


def test_sms_spam_splits_share_no_message() -> None:
    train, test = load_dataset("sms_spam"), load_dataset("sms_spam", "test")
    assert list(train.columns) == ["label", "text"]
    assert len(train) + len(test) == 5574
    assert (pd.concat([train, test])["label"] == "spam").sum() == 747
    assert not set(train["text"]) & set(test["text"])
    assert 0.17 < len(test) / 5574 < 0.23


def test_a_changed_copy_does_not_change_the_next() -> None:
    table = load_dataset("adult_sample")
    table.loc[:, "age"] = 0
    assert load_dataset("adult_sample")["age"].min() == 17


# Layouts


def test_the_public_file_and_the_packages_file_give_the_same_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pd.read_parquet(BUNDLED / "sms_spam" / "messages.parquet")
    lines = "".join(f"{label}\t{text}\n" for label, text in zip(table["label"], table["text"]))
    assert (  # these are the bytes of the public file
        hashlib.sha256(lines.encode()).hexdigest() == "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"
    )
    folder = tmp_path / "text" / "sms_spam"
    folder.mkdir(parents=True)
    (folder / "SMSSpamCollection").write_bytes(lines.encode())
    bundled = load_dataset("sms_spam")
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    pd.testing.assert_frame_equal(load_dataset("sms_spam"), bundled)
    (folder / "SMSSpamCollection").write_bytes(lines.encode()[:-50])  # it is this file that was read
    with pytest.raises(DataError, match="SMSSpamCollection is not the train split of sms_spam"):
        load_dataset("sms_spam")


def _as_the_authors_write(name: str) -> bytes:
    """A file of the occupancy set in its public form: seven names over eight fields, row numbers first."""
    table = pd.read_parquet(BUNDLED / "occupancy" / f"{name}.parquet")
    table = table.assign(occupied=table["occupied"].astype(int)).rename(columns={"occupied": "Occupancy"})
    header = ",".join(f'"{c}"' for c in table.columns)
    rows = table.to_csv(header=False, index=True, quoting=0)
    return f"{header}\n{rows}".encode()


@pytest.mark.parametrize("where", ["ZOO_DATA", "cache"])
@pytest.mark.parametrize("zipped", [False, True])
def test_occupancy_from_the_authors_files(
    where: str, zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    folder = root / "timeseries" / "occupancy"
    folder.mkdir(parents=True)
    for name in ("datatraining", "datatest", "datatest2"):
        content = _as_the_authors_write(name)
        (folder / f"{name}.txt{'.gz' if zipped else ''}").write_bytes(gzip.compress(content) if zipped else content)
    monkeypatch.setenv("ZOO_DATA", str(root)) if where == "ZOO_DATA" else monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    for split in ("train", "test"):
        assert fingerprint(load_dataset("occupancy", split)) == SHA256S["occupancy"][split]
    path = next(folder.glob("datatraining*"))
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="datatraining"):  # so they were not the package's that were read
        load_dataset("occupancy")


def test_adult_reads_the_public_files_and_the_clean_ones() -> None:
    header = ",".join(read.ADULT)
    clean = f"{header}\n39,,7,HS-grad,9,Never-married,,Own-child,White,Male,2174,0,40,,<=50K\n".encode()
    public = b"39, ?, 7, HS-grad, 9, Never-married, ?, Own-child, White, Male, 2174, 0, 40, ?, <=50K\n\n"
    wanted = read.csv(read.ADULT)([clean], "train")
    assert wanted.isna().sum().sum() == 3
    pd.testing.assert_frame_equal(read.adult([public], "train"), wanted)
    tested = b"|1x3 Cross validator\n" + public.replace(b"<=50K", b"<=50K.")
    pd.testing.assert_frame_equal(read.adult([tested], "test"), wanted)


def test_magic_and_beijing_read_both_layouts() -> None:
    rows = [f"{i}.5,2,3,4,5,6,7,8,9,10,{'gh'[i % 2]}\n" for i in range(30)]
    header = ",".join(read.MAGIC) + "\n"
    parts = []
    for split in ("train", "test"):
        made = read.magic(["".join(rows).encode()], split)
        pd.testing.assert_frame_equal(read.magic_csv([(header + "".join(rows)).encode()], split), made)
        parts.append(made)
    assert sorted(pd.concat(parts)["fLength"]) == [i + 0.5 for i in range(30)]
    assert 2 < len(parts[1]) < 16
    public = (
        b"No,year,month,day,hour,pm2.5,DEWP,TEMP,PRES,cbwd,Iws,Is,Ir\r\n1,2013,1,1,0,NA,-21,-11,1021,NW,1.79,0,0\r\n"
    )
    clean = public.replace(b"pm2.5", b"pm2_5").replace(b"NA", b"").replace(b"-11,1021", b"-11.0,1021.0")
    pd.testing.assert_frame_equal(read.beijing([public], "train"), read.beijing([clean], "train"))
    assert len(read.beijing([public], "test")) == 0
    assert read.beijing([public], "train")["pm2_5"].isna().all()


def test_nsl_kdd_groups_the_attacks() -> None:
    rates = [n.endswith("_rate") for n in read.NSL]
    row = ["0.50" if rate else "1" for rate in rates][:-1]
    names = list(read.NSL)
    for label, group in (("neptune", "dos"), ("normal", "normal"), ("rootkit", "u2r")):
        values = dict(zip(names, row)) | {"label": label, "protocol_type": "tcp", "service": "http", "flag": "SF"}
        public = ",".join(values.values()).encode()
        clean = (",".join(names) + "\n").encode() + public + f",{group}\n".encode()
        made = read.nsl_kdd([public], "train")
        assert made["attack_class"].tolist() == [group]
        pd.testing.assert_frame_equal(made, read.csv(read.NSL)([clean], "train"))


def test_idx_and_texts() -> None:
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    images = struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 3, 4) + pixels.tobytes()
    labels = struct.pack(">BBBBI", 0, 0, 8, 1, 2) + bytes([1, 0])
    made = read.idx(("a", "b"))([images, labels], "train")
    assert np.array_equal(made.pixels[..., 0], pixels)
    assert made.labels.tolist() == [1, 0] and made.classes == ("a", "b")
    with pytest.raises(ValueError, match="IDX"):
        read.idx(("a", "b"))([labels[1:], labels], "train")
    with pytest.raises(ValueError, match=r"buffer|reshape"):
        read.idx(("a", "b"))([images[:-1], labels], "train")
    assert read.sst2([b"1 good film .\n0 bad\n"], "train").values.tolist() == [
        ["positive", "good film ."],
        ["negative", "bad"],
    ]
    assert read.banking77([b'text,category\n"a,\nb",card\nNA,cash\n'], "train").values.tolist() == [
        ["card", "a,\nb"],
        ["cash", "NA"],
    ]


def test_series_are_cut_before_they_are_windowed() -> None:
    csv = "t,x,y\n" + "".join(f"{i},{i},{-i}\n" for i in range(50))
    reader = read.windows_of_series(5, 1, ["t"])
    train, test = reader([csv.encode()], "train"), reader([csv.encode()], "test")
    assert train.channels == ("x", "y")
    assert train.values.shape == (36, 5, 2) and test.values.shape == (6, 5, 2)
    assert train.values[..., 0].max() == 39 and test.values[..., 0].min() == 40


# Fingerprints


def test_fingerprints_see_names_types_values_and_missing() -> None:
    base = pd.DataFrame({"a": [1, 2], "b": pd.Series(["x", None], dtype="str")})
    seen = {fingerprint(base)}
    assert fingerprint(base.set_axis([7, 9])) in seen  # an index is no data
    others: list[Any] = [
        base.rename(columns={"a": "c"}),
        base.assign(a=[1, 3]),
        base.assign(a=[1.0, 2.0]),
        base.assign(b=pd.Series(["x", ""], dtype="str")),
        base.assign(b=pd.Series(["x", None], dtype="object")),
        base[["b", "a"]],
        base.assign(b=pd.Categorical(["x", None])),
        base.assign(b=pd.Categorical(["x", None], categories=["x", "y"])),
        base.assign(a=pd.array([1, None], dtype="Int64")),
        base.assign(a=pd.array([1, 0], dtype="Int64")),
        base.iloc[:1],
        base.iloc[:0],
        pd.DataFrame({"b": pd.Series(["ab", "c"], dtype="str")}),
        pd.DataFrame({"b": pd.Series(["a", "bc"], dtype="str")}),
        base.assign(a=pd.to_datetime(["2020-01-01", "2020-01-02"])),
        base.assign(a=pd.to_timedelta([1, 2])),
        ImageBatch(np.zeros((2, 2, 2, 1), np.uint8)),
        ImageBatch(np.zeros((2, 2, 2, 1), np.uint8), np.array([0, 1])),
        ImageBatch(np.zeros((2, 2, 2, 1), np.uint8), np.array([0, 0]), ("0", "1")),
        ImageBatch(np.zeros((2, 1, 4, 1), np.uint8)),
        SeriesBatch(np.zeros((2, 3, 1))),
        SeriesBatch(np.zeros((2, 3, 1)), channels=("y",)),
        SeriesBatch(np.zeros((2, 3, 1)), lengths=np.array([3, 2])),
        SeriesBatch(np.zeros((2, 3, 1)), static=pd.DataFrame({"a": [1, 2]})),
        SeriesBatch(np.zeros((2, 3, 1)), times=np.zeros((2, 3))),
    ]
    for other in others:
        found = fingerprint(other)
        assert found not in seen, repr(other)
        assert found == fingerprint(other)
        seen.add(found)
    with pytest.raises(DataError, match="list"):
        fingerprint([1])


def test_a_slice_of_strings_is_its_copy() -> None:
    whole = pd.DataFrame({"b": pd.Series(["zero", "eins", None, "drei"], dtype="str")})
    assert fingerprint(whole.iloc[1:]) == fingerprint(whole.iloc[1:].copy())
    assert fingerprint(whole.iloc[1:]) == fingerprint(
        pd.DataFrame({"b": pd.Series(["eins", None, "drei"], dtype="str")})
    )


# Downloads


class Source:
    """A small HTTP server: ``files[path]`` are served; paths in ``cut`` break off half-way."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.asked: list[str] = []
        source = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                source.asked.append(self.path)
                content = source.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if self.path in source.cut else content)
                self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


CONTENT = b"a,b\n1,x\n2,\n"
NATIVE = pd.DataFrame({"a": [1, 2], "b": pd.Series(["x", None], dtype="str")})


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """A set named ``tiny`` whose two files are served at a local address; the network is allowed."""
    for name in ("ZOO_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = Source()
    served.files = {"/tiny/train.csv": CONTENT, "/tiny/test.csv": CONTENT}
    add_tiny(monkeypatch, served.url)
    yield served
    served.close()


def add_tiny(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    sha = hashlib.sha256(CONTENT).hexdigest()
    layout = Layout(
        {"train": ("train.csv",), "test": ("test.csv",)},
        read.csv({"a": "int64", "b": "str"}),
        {f: (f"{url}/tiny/{f}", sha) for f in ("train.csv", "test.csv")},
    )
    info = DatasetInfo(
        name="tiny_set",
        modality="tabular",
        description="Two rows.",
        licence="CC0",
        citation="none",
        source=f"{url}/tiny",
        sha256s=dict.fromkeys(("train", "test"), fingerprint(NATIVE)),
    )
    monkeypatch.setitem(SETS, "tiny_set", Dataset(info, (layout,)))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "data" / "tabular" / "tiny_set"


def test_a_set_is_downloaded_once(source: Source, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pd.testing.assert_frame_equal(load_dataset("tiny_set"), NATIVE)
    assert source.asked == ["/tiny/train.csv"]  # and the other split is not fetched
    assert [p.name for p in cache.iterdir()] == ["train.csv"]
    pd.testing.assert_frame_equal(load_dataset("tiny_set"), NATIVE)
    assert source.asked == ["/tiny/train.csv"]
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    pd.testing.assert_frame_equal(load_dataset("tiny_set"), NATIVE)
    with pytest.raises(OfflineError, match=r"would have fetched http.*/tiny/test\.csv.*put test\.csv into"):
        load_dataset("tiny_set", "test")


def test_the_users_folder_comes_first(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    folder = tmp_path / "tabular" / "tiny-set"  # hyphens are as good
    folder.mkdir(parents=True)
    (folder / "train.csv.gz").write_bytes(gzip.compress(CONTENT))
    pd.testing.assert_frame_equal(load_dataset("tiny_set"), NATIVE)
    assert source.asked == []
    pd.testing.assert_frame_equal(load_dataset("tiny_set", "test"), NATIVE)  # is not there: falls through
    assert source.asked == ["/tiny/test.csv"]


def test_other_bytes_than_known_are_thrown_away(source: Source, cache: Path) -> None:
    source.files["/tiny/train.csv"] = CONTENT + b"3,y\n"
    with pytest.raises(RemoteError, match=r"train\.csv is not the file that the zoo knows: its SHA-256 is"):
        load_dataset("tiny_set")
    assert not cache.exists()


def test_a_cut_transfer_leaves_nothing(source: Source, cache: Path) -> None:
    source.cut.add("/tiny/train.csv")
    with pytest.raises(RemoteError, match="broke off"):
        load_dataset("tiny_set")
    assert not cache.exists()
    source.cut.clear()
    pd.testing.assert_frame_equal(load_dataset("tiny_set"), NATIVE)


def test_a_missing_file_and_a_dead_server_are_said(
    source: Source, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del source.files["/tiny/train.csv"]
    with pytest.raises(RemoteError, match="404"):
        load_dataset("tiny_set")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    add_tiny(monkeypatch, f"http://127.0.0.1:{port}")
    with pytest.raises(RemoteError, match="cannot fetch"):
        load_dataset("tiny_set")
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_said(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))  # a folder below a file cannot be made, even by root
    with pytest.raises(DataError, match="cannot write"):
        load_dataset("tiny_set")


# What may be wrong


# Each case has a name of its own: without one pytest would name it by its bytes, and gzip's hold the time of day, so
# that two workers of one run would collect different tests.
DAMAGED = {
    "empty": (b"", "is damaged"),
    "no-gzip": (b"\x1f\x8b\x08\x00cut", "is damaged"),
    "cut-gzip": (gzip.compress(CONTENT, mtime=0)[:-9], "is damaged"),
    "text-for-number": (b"a,b\nx,x\n", "is damaged"),
    "no-utf8": (b"a,b\n1,x\n2,\xff\n", "is damaged"),
    "one-row-more": (CONTENT + b"3,y\n", "is not the train split of tiny_set"),
    "columns-swapped": (CONTENT.replace(b"a,b", b"b,a"), "train.csv"),
    "cut": (CONTENT[:-4], "is not the train split of tiny_set"),
}


@pytest.mark.parametrize(("content", "words"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_one_clear_error(content: bytes, words: str, source: Source, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "train.csv").write_bytes(content)
    with pytest.raises(DataError, match=words) as raised:
        load_dataset("tiny_set")
    assert str(cache / "train.csv") in str(raised.value)
    assert "\n" not in str(raised.value)
    assert source.asked == []  # a damaged file is not passed over in silence


def test_offline_says_what_to_fetch_and_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    with pytest.raises(OfflineError) as raised:
        load_dataset("adult")
    for words in ("ZOO_OFFLINE", "adult.data", "train.csv", "$ZOO_DATA/tabular/adult", "home/data/tabular/adult"):
        assert words in str(raised.value)
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "own"))
    with pytest.raises(OfflineError, match=str(tmp_path / "own" / "tabular" / "adult")):
        load_dataset("adult")


def test_a_set_that_no_address_serves_says_where_to_look() -> None:
    with pytest.raises(DataError, match=r"no address serves its files; see https://.*put ecg5000_train\.npz into"):
        load_dataset("ecg5000")
