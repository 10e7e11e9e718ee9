"""Weights on the Hugging Face hub, and in its cache on this machine."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from .errors import WeightsError

PATIENCE = 2.0
"""Seconds to wait for the hub's first answer; the environment variable HF_HUB_ETAG_TIMEOUT overrides them."""
FILES = "*.json", "*.safetensors"

_COMMIT = re.compile(r"[0-9a-f]{40}")


@cache
def fetch(repo: str, revision: str) -> Path:
    """Return the folder of the hub's cache that holds the repository's weights, fetched first if need be.

    A commit that is in the cache needs no network, nor does anything in it while HF_HUB_OFFLINE is set or the hub
    does not answer. What was found stays so while the process lives, so that all its parts see one commit of a
    branch. Raises WeightsError.
    """
    from huggingface_hub import constants, errors, snapshot_download

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
            "fetch it once without HF_HUB_OFFLINE, or give a local folder as `model`"
        )
    try:
        _knock(repo, revision)
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(FILES)))
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
    """Return the folder of the hub's cache with weights of the revision, if there is one."""
    from huggingface_hub import try_to_load_from_cache

    for config, weights in (("config.json", "model"), ("adapter_config.json", "adapter_model")):
        names = config, f"{weights}.safetensors"
        found = [try_to_load_from_cache(repo, name, revision=revision) for name in names]
        if isinstance(found[0], str) and isinstance(found[1], str):
            return Path(found[0]).parent
    return None


def _knock(repo: str, revision: str) -> None:
    """Ask the hub once about a repository; raises what the hub's client raises, or TimeoutError.

    A download would retry for most of a minute. The question is put in a thread of its own because looking up the
    name of a host knows no time limit.
    """
    from huggingface_hub import HfApi

    patience = float(os.environ.get("HF_HUB_ETAG_TIMEOUT", PATIENCE))
    answer: SimpleQueue[Exception | None] = SimpleQueue()

    def ask() -> None:
        try:
            HfApi().model_info(repo, revision=revision, timeout=patience)
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
