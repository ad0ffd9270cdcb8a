"""Outputs belong to one process while they are made: a lock in the hidden work folder of each."""

from __future__ import annotations

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

from filelock import lock_descriptor

from satseg.errors import OutputError

LOCK = "lock"
OWNER = "owner.json"  # not in the lock itself, which Windows lets nobody else read
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
    """Delete all that a work folder holds, except for the lock and the name of its owner.

    Raises:
        OSError: Something cannot be deleted.
    """
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name not in (LOCK, OWNER):
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
        if not _locks(lock):
            os.close(lock)
            raise OutputError(
                f"{path} is being made at this moment, by {_spell(_owner(folder))}.",
                hint="Wait for it, or name another output.",
            )
        if not _is_still_there(folder / LOCK, lock):  # whoever had it has deleted it meanwhile
            os.close(lock)
            continue
        try:
            (folder / OWNER).write_text(json.dumps(_this_process()), encoding="utf-8")
        except OSError as error:
            _release(folder, lock)
            raise OutputError(f"Cannot write to {path.parent}: {error.strerror}.") from error
        return lock
    raise OutputError(f"Cannot write to {path.parent}: {folder.name} is deleted again and again.")


def _locks(lock: int) -> bool:
    """Take a lock, and tell whether no other process has it."""
    try:
        return lock_descriptor(lock, blocking=False)
    except OSError:  # a file system without locks
        return True


def _release(folder: Path, lock: int) -> None:
    """Delete a lock and its folder while the lock is held, so that nobody can get a lock that is being deleted.

    Windows deletes no open file: there the lock is let go first, and stays if another run has opened it by then.
    """
    with suppress(OSError):
        (folder / OWNER).unlink()
    if os.name == "nt":
        os.close(lock)
    with suppress(OSError):
        (folder / LOCK).unlink()
    with suppress(OSError):  # it holds something to resume from
        folder.rmdir()
    if os.name != "nt":
        os.close(lock)


def _is_still_there(path: Path, lock: int) -> bool:
    if os.name == "nt":  # which deletes no open file
        return True
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
    """Return what the holder of a lock has written beside it; nothing where there is no lock."""
    try:
        found = json.loads((folder / OWNER).read_text(encoding="utf-8", errors="replace"))
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
