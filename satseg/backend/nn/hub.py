"""Hubs that weights are downloaded from: whether they can be reached, and the files of a repository."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

PREFIX = "hf-hub:"
"""Begins the address of weights at a hub: ``hf-hub:organisation/name``, with ``@revision`` if needed."""

PATIENCE = 2.0
"""Seconds to wait for an answer of a hub."""

_PREFERRED = ("model.safetensors", ".safetensors", "pytorch_model.bin", ".pth", ".pt", ".bin")  # ends of names


class HubError(OSError):
    """The hub cannot be reached, or does not have what is asked for."""


@contextmanager
def hub_access() -> Iterator[None]:
    """Download within this context, or take what is in the cache if the hub cannot be reached.

    Left alone, the client of the hub would try for half a minute.

    Raises:
        HubError: The hub cannot be reached, and the cache does not have what is asked for.
    """
    from huggingface_hub import constants

    offline = constants.HF_HUB_OFFLINE
    reachable = not offline and answers(constants.ENDPOINT)
    constants.HF_HUB_OFFLINE = not reachable
    try:
        with quiet("timm"), quiet("huggingface_hub"):  # they repeat the message on stderr
            yield
    except OSError as error:
        if reachable or isinstance(error, HubError):
            raise
        why = "HF_HUB_OFFLINE is set" if offline else f"{urlsplit(constants.ENDPOINT).hostname} cannot be reached"
        raise HubError(f"{why}, and the cache does not have them") from None  # the client's own message is longer
    finally:
        constants.HF_HUB_OFFLINE = offline


def download(address: str) -> str:
    """Download the file of weights of a repository, unless it is in the cache, and return its path.

    Args:
        address: ``hf-hub:organisation/name``, which takes the repository's one file of weights, safetensors before
            others; or with ``/file.pth`` behind it.

    Raises:
        HubError: The hub cannot be reached, or the repository has no weights, or several files of them.
        OSError: There is no such repository or file, or the download failed.
    """
    from huggingface_hub import hf_hub_download

    path, _, revision = address.removeprefix(PREFIX).partition("@")
    organisation, name, *file = path.split("/", 2) if "/" in path else ("", path)
    repository = f"{organisation}/{name}"
    with hub_access():
        chosen = file[0] if file else _weights_among(repository_files(repository, revision or None), address)
        return str(hf_hub_download(repository, chosen, revision=revision or None))


def architecture_at(address: str) -> str:
    """Download what a repository says of its network, and return the name of the network in timm.

    Args:
        address: ``hf-hub:organisation/name``.

    Raises:
        HubError: The hub cannot be reached, or the repository does not name a network of timm.
        OSError: There is no such repository, or the download failed.
    """
    path, at, revision = address.partition("@")
    try:
        with open(download(f"{path}/config.json{at}{revision}"), encoding="utf-8") as file:
            return str(json.load(file)["architecture"])
    except (ValueError, KeyError, TypeError):
        raise HubError("its config.json names no architecture of timm") from None


def repository_files(repository: str, revision: str | None) -> list[str]:
    """Return the names of the files of a repository; without a network, of those in the cache."""
    from huggingface_hub import HfApi, constants, scan_cache_dir

    if not constants.HF_HUB_OFFLINE:
        return list(HfApi().list_repo_files(repository, revision=revision))
    repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos if Path(constants.HF_HUB_CACHE).is_dir() else ()
    cached = [repo for repo in repositories if repo.repo_id == repository]
    names = sorted({file.file_name for repo in cached for state in repo.revisions for file in state.files})
    if not names:
        raise FileNotFoundError(repository)
    return names


def _weights_among(names: list[str], address: str) -> str:
    for ending in _PREFERRED:
        found = [name for name in names if name.endswith(ending)]
        if len(found) > 1:
            raise HubError(f"it has several files of weights, of which one is {address.split('@')[0]}/{found[0]}")
        if found:
            return found[0]
    raise HubError("it has no weights")


def answers(url: str) -> bool:
    """Tell whether a server, or the proxy before it, takes connections; the search for its name is cut short, too."""
    from urllib import request  # takes what commands without a network of their own are spared

    address = urlsplit(url)
    proxies = {} if request.proxy_bypass(address.hostname or "") else request.getproxies()
    address = urlsplit(proxies.get(address.scheme, proxies.get("all", url)))
    port = address.port or (80 if address.scheme == "http" else 443)
    connected = []

    def connect() -> None:
        with suppress(OSError), socket.create_connection((address.hostname or "", port), timeout=PATIENCE):
            connected.append(True)

    attempt = Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(PATIENCE)
    return bool(connected)


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Hide the messages of a library within this context."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
