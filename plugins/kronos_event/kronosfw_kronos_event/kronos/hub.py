"""Where weights are: in a local folder, or on the Hugging Face hub and in its cache on this machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from .checkpoint import CONFIG, WEIGHTS
from .errors import WeightsError

PATIENCE = 2.0
"""Seconds to wait for the hub's first answer; the environment variable HF_HUB_ETAG_TIMEOUT overrides them."""

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Published:
    """What the files of a published checkpoint do not say."""

    revision: str
    """The commit to load, unless another is asked for."""
    max_context: int
    """How many bars it was trained to look at."""
    tokenizer: str | None = None
    """Hub id of the tokenizer that belongs to a model."""


PUBLISHED = {
    "NeoQuasar/Kronos-mini": Published(
        "f4e68697d9d5aed55cef5c96aabc3376bcad9f81", 2048, "NeoQuasar/Kronos-Tokenizer-2k"
    ),
    "NeoQuasar/Kronos-small": Published(
        "901c26c1332695a2a8f243eb2f37243a37bea320", 512, "NeoQuasar/Kronos-Tokenizer-base"
    ),
    "NeoQuasar/Kronos-base": Published(
        "2b554741eca47781b64468546e77fef3e85130e6", 512, "NeoQuasar/Kronos-Tokenizer-base"
    ),
    "NeoQuasar/Kronos-Tokenizer-2k": Published("26966d0035065a0cae0ebad7af8ece35bc1fb51c", 2048),
    "NeoQuasar/Kronos-Tokenizer-base": Published("0e0117387f39004a9016484a186a908917e22426", 512),
}
"""The checkpoints of Shi et al. (arXiv 2508.02739) by hub id."""


def locate(source: str | Path, revision: str | None = None) -> Path:
    """Return the folder with the files of ``source``, fetched first where it is the id of a hub repository.

    A folder of that name comes first. A published checkpoint comes in its pinned revision and any other in
    ``main``, unless ``revision`` (a commit, tag or branch) says otherwise. A commit that is in the hub's cache
    needs no network. Raises WeightsError.
    """
    folder = Path(os.path.expanduser(source))
    if folder.is_dir():
        if revision:
            raise WeightsError(f"{folder} is a local folder and has no revision '{revision}'; leave it out")
        return folder
    if folder.exists():
        raise WeightsError(f"{folder} is a file; give the folder that holds {CONFIG} and {WEIGHTS}")
    if not isinstance(source, str) or not _HUB_ID.fullmatch(source):
        raise WeightsError(f"there is no folder {folder}; give one that holds {CONFIG} and {WEIGHTS}, or a hub id")
    pinned = PUBLISHED[source].revision if source in PUBLISHED else "main"
    return _fetch(source, revision or pinned)


def _fetch(repo: str, revision: str) -> Path:
    try:
        from huggingface_hub import constants, errors, hf_hub_download
    except ImportError:
        raise WeightsError(
            f"there is no folder {repo}, and to fetch it from the hub huggingface_hub is missing; "
            "run: pip install 'kronosfw-kronos-event[hub]', or give a local folder"
        ) from None
    what = f"{repo} (revision {revision})"
    try:
        cached = _cached(repo, revision)
    except errors.HFValidationError:
        raise WeightsError(f"there is no folder {repo}, and a hub id looks otherwise") from None
    if cached and (constants.HF_HUB_OFFLINE or _COMMIT.fullmatch(revision)):
        return cached
    if constants.HF_HUB_OFFLINE:
        raise WeightsError(
            f"{what} is not in the hub's cache on this machine and HF_HUB_OFFLINE is set; "
            "fetch it once without HF_HUB_OFFLINE, or give a local folder"
        )
    name = CONFIG
    try:
        _knock(repo, revision)
        config = Path(hf_hub_download(repo, name, revision=revision))
        name = WEIGHTS
        # The folder is named by the commit: both files are of the same one, whatever happens to a branch meanwhile.
        return Path(hf_hub_download(repo, name, revision=config.parent.name)).parent
    except errors.RemoteEntryNotFoundError:
        problem = f"{what} holds no {name}; only repositories with {CONFIG} and {WEIGHTS} can be loaded"
    except errors.RevisionNotFoundError:
        problem = f"the hub's {repo} has no revision '{revision}'; give one of its commits, tags or branches"
    except errors.RepositoryNotFoundError:
        problem = (
            f"there is no folder {repo}, and on the hub it is missing, private or gated; "
            "check its name, or log in with: hf auth login"
        )
    except Exception as error:
        if cached:
            return cached
        # Only the kind of error is told: its text may hold a proxy's password.
        problem = (
            f"{what} is not in the hub's cache on this machine and cannot be fetched ({type(error).__name__}); "
            "mend the network, copy the cache from elsewhere and set HF_HUB_OFFLINE=1, or give a local folder"
        )
    raise WeightsError(problem)


def _cached(repo: str, revision: str) -> Path | None:
    """Return the folder of the hub's cache that holds both files, if there is one."""
    from huggingface_hub import try_to_load_from_cache

    paths = [try_to_load_from_cache(repo, name, revision=revision) for name in (CONFIG, WEIGHTS)]
    found = [Path(path) for path in paths if isinstance(path, str)]
    return found[0].parent if len(found) == len(paths) else None


def _knock(repo: str, revision: str) -> None:
    """Ask the hub once for a file; raises what the hub's client raises, or TimeoutError.

    A download would retry for most of a minute. The question is put in a thread of its own because looking up the
    name of a host knows no time limit.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    patience = float(os.environ.get("HF_HUB_ETAG_TIMEOUT", PATIENCE))
    answer: SimpleQueue[Exception | None] = SimpleQueue()

    def ask() -> None:
        try:
            get_hf_file_metadata(hf_hub_url(repo, CONFIG, revision=revision), timeout=patience)
        except Exception as error:
            answer.put(error)
        else:
            answer.put(None)

    Thread(target=ask, daemon=True).start()
    try:
        error = answer.get(timeout=patience)
    except Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
