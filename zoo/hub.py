"""Artifacts from and to remote places: the Hugging Face Hub, and any address that fsspec opens.

What is fetched lands in ``$ZOO_HOME/hub/<owner>--<name>/<commit>``, complete or not at all; a commit that is there is
never fetched again. Offline (``ZOO_OFFLINE=1`` or ``HF_HUB_OFFLINE=1``) nothing touches the network.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from zoo.artifact import _MAX_JSON, CARD, MANIFEST, open_artifact
from zoo.atomic import atomic_file, temporary_beside
from zoo.errors import ArtifactError, OfflineError, RemoteError, UnknownNameError
from zoo.registry import home

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TRUE = {"1", "true", "yes", "on"}


def offline() -> str | None:
    """The environment variable that forbids the network, if one does."""
    for name in ("ZOO_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name, "").lower() in _TRUE:
            return name
    return None


def fetch_repository(repo_id: str, revision: str | None = None) -> Path:
    """The local folder of a Hub repository at a revision (a branch, a tag or a commit; ``main`` by default).

    Raises
    ------
    UnknownNameError
        If the Hub has no such repository or revision.
    OfflineError
        If it is not cached and offline mode is on.
    RemoteError
        If the Hub cannot be reached.
    """
    wanted = revision or "main"
    cache = home() / "hub" / repo_id.replace("/", "--")
    reference = cache / "refs" / wanted.replace("/", "--")
    pinned = wanted if _COMMIT.fullmatch(wanted) else None
    if pinned and (cache / pinned / MANIFEST).is_file():
        return cache / pinned
    forbidden = offline()
    if forbidden:
        if reference.is_file() and (cache / reference.read_text() / MANIFEST).is_file():
            return cache / reference.read_text()
        raise OfflineError(
            f"{repo_id} at {wanted} is not in {cache} and {forbidden} is set; "
            f"would have fetched it from the Hugging Face Hub. Unset {forbidden}, or put the folder there yourself"
        )
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        commit = HfApi().repo_info(repo_id, revision=wanted).sha
        assert commit is not None
        if not (cache / commit / MANIFEST).is_file():

            def download(name: str, into: Path) -> None:
                hf_hub_download(repo_id, name, revision=commit, local_dir=into)

            _fetch(download, cache / commit)
    except RepositoryNotFoundError as error:
        raise UnknownNameError(
            f"the Hub has no repository {repo_id!r} (or it is private: run hf auth login)"
        ) from error
    except RevisionNotFoundError as error:
        raise UnknownNameError(f"{repo_id} has no revision {wanted!r}; leave it out for the newest") from error
    except EntryNotFoundError as error:
        raise ArtifactError(f"{repo_id} at {wanted} is no complete zoo artifact: {_first_line(error)}") from error
    except (HfHubHTTPError, OSError) as error:
        if isinstance(error, (ArtifactError, RemoteError)):
            raise
        raise RemoteError(f"cannot fetch {repo_id} from the Hugging Face Hub: {_first_line(error)}") from error
    except Exception as error:
        remote = _unreachable(error, repo_id)
        if remote is error:
            raise
        raise remote from error
    with atomic_file(str(reference)) as temporary:
        Path(temporary).write_text(commit)
    return cache / commit


def fetch_address(address: str) -> Path:
    """The local copy of an artifact folder at any address that fsspec opens."""
    if not address.startswith(("file://", "local://", "memory://")) and offline():
        raise OfflineError(f"{offline()} is set; would have fetched {address}. Unset it, or copy the folder yourself")
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(address)
        manifest = system.cat_file(f"{root}/{MANIFEST}", start=0, end=_MAX_JSON)

        def download(name: str, into: Path) -> None:
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            system.get_file(f"{root}/{name}", str(into / name))

        folder = home() / "hub" / "addresses" / hashlib.sha256(address.encode() + manifest).hexdigest()
        if not (folder / MANIFEST).is_file():
            _fetch(download, folder)
        return folder
    except FileNotFoundError as error:
        raise UnknownNameError(f"{address} holds no complete artifact: {error}") from error
    except (OSError, ImportError, ValueError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise RemoteError(f"cannot read {address}: {_first_line(error)}") from error


def _fetch(download: Callable[[str, Path], None], target: Path) -> None:
    """Fetch the manifest, then exactly the files that it lists, and put the verified folder in place at once."""
    with temporary_beside(target, folder=True) as temporary:
        download(MANIFEST, temporary)
        opened = open_artifact(temporary)  # refuses names that would leave the folder, before they are fetched
        for name in opened.files:
            download(name, temporary)
        opened.verify()
        shutil.rmtree(temporary / ".cache", ignore_errors=True)  # huggingface_hub's notes on local_dir
        try:
            os.rename(temporary, target)
        except OSError:
            if not (target / MANIFEST).is_file():  # another process was first
                raise


def push_folder(folder: Path, repo_id: str, *, private: bool = False, revision: str | None = None) -> str:
    """Upload an artifact folder to the Hub, making the repository if need be.

    Returns
    -------
    str
        The commit, which pins the artifact.
    """
    opened = open_artifact(folder)
    opened.verify()
    forbidden = offline()
    if forbidden:
        raise OfflineError(f"{forbidden} is set; would have pushed {folder} to {repo_id}. Unset it to push")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    allowed = [MANIFEST, *opened.files, *([CARD] if (folder / CARD).is_file() else [])]
    try:
        api = HfApi()
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo_id,
            folder_path=str(folder),
            allow_patterns=allowed,
            revision=revision,
            commit_message=f"Add {opened.family}",
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise RemoteError(
            f"cannot push to {repo_id}: {_first_line(error)}; is there a token (hf auth login)?"
        ) from error
    except Exception as error:
        remote = _unreachable(error, repo_id)
        if remote is error:
            raise
        raise remote from error
    return done.oid


def _unreachable(error: Exception, repo_id: str) -> Exception:
    """huggingface_hub lets its HTTP client's own connection errors through, whose type depends on its version."""
    if type(error).__module__.startswith(("httpx", "httpcore", "requests", "urllib3")):
        return RemoteError(
            f"cannot reach the Hugging Face Hub for {repo_id}: {_first_line(error)}; is there a network?"
        )
    return error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
