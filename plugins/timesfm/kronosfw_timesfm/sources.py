"""Where weights are: in a local folder, in the hub's cache on this machine, or on the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from .errors import WeightsError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PATIENCE = 5.0
"""Seconds to wait for the hub's first answer; its client by itself would try for most of a minute."""

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def locate(source: str, revision: str | None, names: Sequence[str]) -> Path:
    """Return the folder that holds the files ``names``, fetched first where ``source`` is a hub id.

    What is in the hub's cache is used without asking the hub. Raises WeightsError within ``PATIENCE`` seconds where
    nothing can be had.
    """
    folder = Path(source)
    if folder.is_dir():
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise WeightsError(f"{folder} lacks {' and '.join(missing)}; give a folder that holds it, or a hub id")
        return folder
    if not _HUB_ID.fullmatch(source):
        raise WeightsError(f"there is no folder {source}; give one that holds {' and '.join(names)}, or a hub id")
    return _cached(source, revision, names) or _fetched(source, revision, names)


def _cached(repo: str, revision: str | None, names: Sequence[str]) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    paths = [try_to_load_from_cache(repo, name, revision=revision) for name in names]
    found = [Path(path) for path in paths if isinstance(path, str)]
    return found[0].parent if len(found) == len(names) else None


def _fetched(repo: str, revision: str | None, names: Sequence[str]) -> Path:
    from huggingface_hub import constants, errors, hf_hub_download

    if constants.HF_HUB_OFFLINE:
        raise WeightsError(
            f"{repo} is not in the hub's cache on this machine and HF_HUB_OFFLINE is set; "
            "fetch it once without, or give a local folder as `model`"
        )
    try:
        _knock(repo, revision, names[0])
        first = Path(hf_hub_download(repo, names[0], revision=revision))
        # The folder is named by the commit: all files are of the same one, whatever happens to a branch meanwhile.
        for name in names[1:]:
            hf_hub_download(repo, name, revision=first.parent.name)
    except errors.RevisionNotFoundError:
        raise WeightsError(f"{repo} has no revision '{revision}' on the hub") from None
    except errors.RemoteEntryNotFoundError:
        raise WeightsError(f"{repo} lacks {' or '.join(names)} on the hub: it holds no such model") from None
    except errors.RepositoryNotFoundError:
        raise WeightsError(
            f"there is no folder {repo}, and on the hub it is missing, private or gated; "
            "check its name, accept its terms there, and log in with: hf auth login"
        ) from None
    except Exception as error:
        # Only the kind of error is told: its text may hold a proxy's password.
        raise WeightsError(
            f"{repo} is not in the hub's cache on this machine and cannot be fetched ({type(error).__name__}); "
            "mend the network, copy the cache from elsewhere, or give a local folder as `model`"
        ) from None
    return first.parent


def _knock(repo: str, revision: str | None, name: str) -> None:
    """Ask the hub once for a file; raises what its client raises, or TimeoutError.

    In a thread of its own, because looking up the name of a host knows no time limit.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    answer: SimpleQueue[Exception | None] = SimpleQueue()

    def ask() -> None:
        try:
            get_hf_file_metadata(hf_hub_url(repo, name, revision=revision), timeout=PATIENCE)
        except Exception as error:
            answer.put(error)
        else:
            answer.put(None)

    Thread(target=ask, daemon=True).start()
    try:
        error = answer.get(timeout=PATIENCE)
    except Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
