"""Locks of outputs, in a hidden work folder beside each, so that only one process writes it at a time."""

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
OWNER = "owner.json"  # a file of its own: on Windows no other process can read the lock
_LONGEST = 255  # bytes of a file name on most file systems
_LONGEST_COMMAND = 120  # characters of a command in messages
_ATTEMPTS = 100  # to take a lock that another process deletes
_THIS_PROCESS = secrets.token_hex(8)  # process ids are reused, especially in containers


def work_folder(path: Path) -> Path:
    """Return the hidden folder beside ``path`` in which it is prepared; long names are shortened by a hash."""
    name = f".{path.name}.satseg"
    if len(os.fsencode(name)) > _LONGEST:
        digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]
        start = os.fsencode(path.name)[: _LONGEST - len(f".-{digest}.satseg")].decode("utf-8", "ignore")
        name = f".{start}-{digest}.satseg"
    return path.parent / name


@contextmanager
def locked(*paths: Path) -> Iterator[None]:
    """Lock outputs until the block ends, so that no other run writes them.

    The operating system releases the locks of a process that dies. Work folders are deleted with their locks, unless
    they hold something to resume from.

    Args:
        paths: Files or folders. Missing parent folders are created.

    Raises:
        OutputError: Another run is writing one of them, or a folder is not writable.
    """
    held: list[tuple[Path, int]] = []
    try:
        for path in paths:
            held.append((work_folder(path), _acquire(path)))
        yield
    finally:
        for folder, lock in reversed(held):
            _release(folder, lock)


@contextmanager
def ensure_locked(path: Path) -> Iterator[None]:
    """Lock an output as :func:`locked` does, unless this process has locked it already.

    Raises:
        OutputError: As :func:`locked`.
    """
    if _is_ours(_owner(work_folder(path))):
        yield
        return
    with locked(path):
        yield


def clear(folder: Path) -> None:
    """Delete the contents of a work folder, except the lock and the description of its owner.

    Raises:
        OSError: Something cannot be deleted.
    """
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name not in (LOCK, OWNER):
            entry.unlink()


def _acquire(path: Path) -> int:
    """Take the lock of an output and return its file descriptor."""
    folder = work_folder(path)
    for attempt in range(_ATTEMPTS):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and attempt + 1 < _ATTEMPTS:
                continue  # another run has just deleted the folder
            raise OutputError(f"Cannot write to {path.parent}: {error.strerror}.") from error
        if not _try_lock(lock):
            os.close(lock)
            raise OutputError(
                f"{path} is being written by {_description(_owner(folder))}.",
                hint="Wait for it, or choose another output.",
            )
        if not _is_still_there(folder / LOCK, lock):  # deleted meanwhile by its previous owner
            os.close(lock)
            continue
        try:
            (folder / OWNER).write_text(json.dumps(_this_process()), encoding="utf-8")
        except OSError as error:
            _release(folder, lock)
            raise OutputError(f"Cannot write to {path.parent}: {error.strerror}.") from error
        return lock
    raise OutputError(f"Cannot write to {path.parent}: {folder.name} is repeatedly deleted.")


def _try_lock(lock: int) -> bool:
    """Try to take a lock; return whether it was free."""
    try:
        return lock_descriptor(lock, blocking=False)
    except OSError:  # a file system without locks
        return True


def _release(folder: Path, lock: int) -> None:
    """Delete a lock and its folder while the lock is held, so that no other process takes a lock being deleted.

    Windows cannot delete open files: there the lock is released first, and remains if another run has opened it.
    """
    with suppress(OSError):
        (folder / OWNER).unlink()
    if os.name == "nt":
        os.close(lock)
    with suppress(OSError):
        (folder / LOCK).unlink()
    with suppress(OSError):  # not empty: it holds something to resume from
        folder.rmdir()
    if os.name != "nt":
        os.close(lock)


def _is_still_there(path: Path, lock: int) -> bool:
    if os.name == "nt":  # where open files cannot be deleted
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
    """Return the command line for messages, shortened; cached since thousands of scenes may each take a lock."""
    name = Path(program).name or "python"
    if name == "__main__.py":  # python -m satseg
        name = Path(program).parent.name
    command = shlex.join([name, *words])
    return command if len(command) <= _LONGEST_COMMAND else f"{command[: _LONGEST_COMMAND - 3]}..."


def _owner(folder: Path) -> dict[str, object]:
    """Return the description of the holder of a lock; empty if there is none."""
    try:
        found = json.loads((folder / OWNER).read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_ours(owner: dict[str, object]) -> bool:
    return owner.get("token") == _THIS_PROCESS


def _description(owner: dict[str, object]) -> str:
    if not owner:
        return "another process"
    place = "" if owner.get("host") == socket.gethostname() else f" on {owner.get('host')}"
    return f"process {owner.get('pid')}{place} ({owner.get('command')})"
