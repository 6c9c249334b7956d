"""Nothing half-written is left behind: not by an error, not by Ctrl-C or SIGTERM, not for long by ``kill -9``."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import zoo
from zoo.atomic import atomic_file, temporary_beside
from zoo.errors import DataError
from zoo.terminate import Terminated, ends_tidily


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from zoo._testing_data import tiny_data

    folder = tmp_path_factory.mktemp("made") / "artifact"
    zoo.create("tabular/gaussian_copula").fit(tiny_data("tabular")).save(folder)
    return folder


@pytest.fixture
def sampling(artifact: Path) -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Starts ``zoo sample`` of more rows than there is time for, and waits until it is writing."""
    started = []

    def start(target: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "zoo.cli", "sample", str(artifact), "-n", "900000000", "-o", str(target)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        started.append(process)
        deadline = time.monotonic() + 120
        while not [p for p in target.parent.glob(".*.zoo-*") if p.stat().st_size]:
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
            time.sleep(0.05)
        return process

    yield start
    for process in started:  # of a test that failed
        process.kill()


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGTERM, 143, "zoo: terminated"),
        (signal.SIGHUP, 129, "zoo: terminated"),
        (signal.SIGINT, 130, "zoo: interrupted"),
    ],
)
def test_a_signal_leaves_what_was_there(
    number: signal.Signals, code: int, said: str, sampling: Callable[[Path], subprocess.Popen[str]], tmp_path: Path
) -> None:
    target = tmp_path / "rows.csv"
    target.write_text("what was there before")
    process = sampling(target)
    process.send_signal(number)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == code
    assert error.strip() == said
    assert [p.name for p in tmp_path.iterdir()] == ["rows.csv"]
    assert target.read_text() == "what was there before"


def test_what_a_killed_process_left_is_removed_by_the_next(
    sampling: Callable[[Path], subprocess.Popen[str]], tmp_path: Path
) -> None:
    target = tmp_path / "rows.csv"
    process = sampling(target)
    (left,) = tmp_path.iterdir()
    with atomic_file(str(target)) as temporary:  # while the other lives, its file is its own
        Path(temporary).write_text("a,b\n")
    assert left.exists()
    process.kill()
    process.communicate()
    assert left.exists()
    others = [tmp_path / name for name in (".rows.csv", ".rows.csv.zoo-abc", ".other.csv.zoo-abcdefgh.csv")]
    for path in others:
        path.write_text("somebody's own")
    (tmp_path / ".rows.csv.zoo-abcdefgh.csv").symlink_to(others[0])
    with atomic_file(str(target)) as temporary:
        Path(temporary).write_text("c,d\n")
    assert target.read_text() == "c,d\n"
    assert not left.exists()
    assert {p.name for p in tmp_path.iterdir()} == {
        "rows.csv",
        ".rows.csv.zoo-abcdefgh.csv",
        *(path.name for path in others),
    }


def test_folders_of_killed_processes_too(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom zoo.atomic import temporary_beside\n"
        "with temporary_beside(Path(sys.argv[1]), folder=True) as made:\n"
        "    (made / 'half').write_text('')\n    os.kill(os.getpid(), 9)\n"
    )
    target = tmp_path / "artifact"
    done = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert done.returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    with temporary_beside(target, folder=True) as temporary:
        os.rename(temporary, target)
    assert [p.name for p in tmp_path.iterdir()] == ["artifact"]


def test_missing_folders_stay_only_when_the_block_succeeds(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "c.txt"
    with pytest.raises(ZeroDivisionError), atomic_file(str(target)):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="cannot write"), atomic_file(str(target / ("x" * 300))):
        pass
    assert list(tmp_path.iterdir()) == []
    with atomic_file(str(target)) as temporary:
        Path(temporary).write_text("whole")
    assert target.read_text() == "whole"

    def fail() -> None:
        with atomic_file(str(target.parent / "d" / "e.txt")):
            (target.parent / "d" / "of another").write_text("")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (target.parent / "d" / "of another").exists()


def test_sigterm_is_an_interrupt_within_the_block_alone() -> None:
    def own(number: int, frame: object) -> None:
        pass

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(Terminated) as raised, ends_tidily():
            signal.raise_signal(signal.SIGTERM)
        assert raised.value.args == (signal.SIGTERM,)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        signal.signal(signal.SIGTERM, own)
        with ends_tidily():
            assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)
