"""A throw-away PostgreSQL server for tests, from the machine's own packages."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def find_postgres() -> Path:
    """The folder of the server's programs; without one the test is skipped, but fails where CI promises one."""
    found = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    for folder in (*([Path(found).resolve().parent] if found else []), *folders):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    if os.environ.get("CI"):
        pytest.fail("no PostgreSQL on this machine; apt-get install postgresql")
    pytest.skip("no PostgreSQL on this machine (apt-get install postgresql)")


@contextmanager
def postgres() -> Iterator[str]:
    """The SQLAlchemy address of a fresh server, which ends with the block. It refuses to run as root."""
    programs = find_postgres()
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    drop: dict[str, object] = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="zoo-postgres-") as home:
        if user is not None:
            os.chown(home, user.pw_uid, user.pw_gid)
        data, log = f"{home}/data", Path(home, "log")
        init = [
            str(programs / "initdb"),
            "-D",
            data,
            "-U",
            "zoo",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
            "--locale=C",
        ]
        done = subprocess.run(init, cwd=home, capture_output=True, text=True, check=False, **drop)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        start = [str(programs / "postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", home, "-F"]
        with log.open("wb") as file:
            server = subprocess.Popen(start, cwd=home, stdout=file, stderr=file, **drop)  # type: ignore[call-overload]
        try:
            deadline = time.monotonic() + 60
            while not _answers(port):
                assert server.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield f"postgresql://zoo:secret@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(timeout=60)


def _answers(port: int) -> bool:
    import pg8000.dbapi

    try:
        pg8000.dbapi.connect("zoo", host="127.0.0.1", port=port, database="postgres").close()
    except (pg8000.dbapi.Error, OSError):
        return False
    return True
