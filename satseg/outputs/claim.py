"""Outputs belong to one process while they are made: a lock in the hidden work folder of each."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from satseg.errors import OutputError

LOCK = "lock"
_LONGEST = 255  # bytes of a file name, nearly everywhere
_LONGEST_COMMAND = 120  # characters that others are told
_PATIENCE = 100  # times that a lock may vanish while it is taken
_THIS_PROCESS = secrets.token_hex(8)  # numbers of processes come again, in containers soon


def work_folder(path: Path) -> Path:
    """Return the hidden folder beside ``path`` in which it is prepared; long names are cut and get a hash."""
    name = f".{path.name}.satseg"
    if len(os.fsencode(name)) > _LONGEST:
        digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]
        start = os.fsencode(path.name)[: _LONGEST - len(f".-{digest}.satseg")].decode("utf-8", "ignore")
        name = f".{start}-{digest}.satseg"
    return path.parent / name


@contextmanager
def claimed(*paths: Path) -> Iterator[None]:
    """Keep all other runs from writing these outputs until the block ends.

    The operating system frees the locks of a process that dies, however that comes about. A work folder goes with its
    lock, the lock last, unless it holds something to resume from.

    Args:
        paths: Files or folders. Their parent folders are made if they are missing.

    Raises:
        OutputError: Another run writes one of them at this moment, or a folder cannot be written.
    """
    held: list[tuple[Path, int]] = []
    try:
        for path in paths:
            held.append((work_folder(path), _take(path)))
        yield
    finally:
        for folder, lock in reversed(held):
            _release(folder, lock)


@contextmanager
def joined(path: Path) -> Iterator[None]:
    """As :func:`claimed`, but a claim that this process has already will do.

    Raises:
        OutputError: As :func:`claimed`.
    """
    if _is_ours(_owner(work_folder(path))):
        yield
        return
    with claimed(path):
        yield


def clear(folder: Path) -> None:
    """Delete all that a work folder holds, except for the lock.

    Raises:
        OSError: Something cannot be deleted.
    """
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()


def _take(path: Path) -> int:
    """Return the open lock of an output."""
    folder = work_folder(path)
    for attempt in range(_PATIENCE):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and attempt + 1 < _PATIENCE:
                continue  # another run has just deleted the folder
            raise OutputError(f"Cannot write to {path.parent}: {error.strerror}.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise OutputError(
                f"{path} is being made at this moment, by {_spell(_owner(folder))}.",
                hint="Wait for it, or name another output.",
            ) from error
        except OSError:  # a file system without locks
            pass
        if not _is_still_there(folder / LOCK, lock):  # whoever had it has deleted it meanwhile
            os.close(lock)
            continue
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, json.dumps(_this_process()).encode(), 0)
        except OSError as error:
            _release(folder, lock)
            raise OutputError(f"Cannot write to {path.parent}: {error.strerror}.") from error
        return lock
    raise OutputError(f"Cannot write to {path.parent}: {folder.name} is deleted again and again.")


def _release(folder: Path, lock: int) -> None:
    with suppress(OSError):
        (folder / LOCK).unlink()
    with suppress(OSError):  # it holds something to resume from
        folder.rmdir()
    os.close(lock)  # last, so that nobody had the lock while it was being deleted


def _is_still_there(path: Path, lock: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(lock))
    except OSError:
        return False


def _this_process() -> dict[str, object]:
    names = {"host": socket.gethostname(), "pid": os.getpid(), "token": _THIS_PROCESS}
    return {**names, "command": _command(sys.argv[0], tuple(sys.argv[1 : 1 + _LONGEST_COMMAND]))}


@lru_cache(maxsize=1)
def _command(program: str, words: tuple[str, ...]) -> str:
    """Return a command as others are told of it: it may name thousands of scenes, each of which takes a lock."""
    name = Path(program).name or "python"
    if name == "__main__.py":  # python -m satseg
        name = Path(program).parent.name
    command = shlex.join([name, *words])
    return command if len(command) <= _LONGEST_COMMAND else f"{command[: _LONGEST_COMMAND - 3]}..."


def _owner(folder: Path) -> dict[str, object]:
    """Return what the holder of a lock has written into it; nothing where there is no lock."""
    try:
        found = json.loads((folder / LOCK).read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_ours(owner: dict[str, object]) -> bool:
    return owner.get("token") == _THIS_PROCESS


def _spell(owner: dict[str, object]) -> str:
    if not owner:
        return "another process"
    place = "" if owner.get("host") == socket.gethostname() else f" on {owner.get('host')}"
    return f"process {owner.get('pid')}{place} ({owner.get('command')})"
