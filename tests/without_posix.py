"""Make this process like one on Windows, as far as Linux can: what is missing there is missing here.

:func:`apply` hides the modules and names of the standard library that Windows lacks from satseg (other packages come
in builds of their own there, and keep them), and refuses what its file system refuses: symbolic links, removing or
replacing a file that is open or mapped, moving a folder with such a file, and names with characters such as ``:``.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import mmap
import os
import re
import signal
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
_SPARED = {"ray", "IPython", "tensorboard"}  # optional, and slow to import
_OS = """
    chown chroot confstr ctermid fchmod fchown fdatasync fork forkpty fpathconf fstatvfs getegid geteuid getgid
    getgroups getloadavg getpgid getpgrp getpriority getresgid getresuid getsid getuid initgroups killpg lchown lockf
    major makedev memfd_create minor mkfifo mknod nice openpty pathconf pathconf_names pidfd_open pipe2 posix_fadvise
    posix_fallocate posix_spawn posix_spawnp pread preadv pwrite pwritev readv register_at_fork sched_getaffinity
    sched_setaffinity sched_yield sendfile setegid seteuid setgid setpgid setpriority setsid setuid splice statvfs sync
    sysconf sysconf_names tcgetpgrp ttyname uname wait wait3 wait4 waitid writev O_CLOEXEC O_DIRECT O_DIRECTORY
    O_DSYNC O_NOATIME O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH O_SYNC O_TMPFILE ST_RDONLY
"""
_SIGNALS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"}
_FORBIDDEN = {*'<>:"|?*', *map(chr, range(32))}
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def apply() -> None:
    """Change this process; nothing changes it back."""
    for name in _third_party():
        with suppress(ImportError):
            importlib.import_module(name)
    sys.modules |= dict.fromkeys(MODULES)  # importing them fails now
    hidden = {
        "os": _OS.split(),
        "mmap": [name for name in dir(mmap) if name.startswith(("MAP_", "PROT_", "MADV_"))],
        "signal": [name for name in dir(signal) if name.startswith("SIG") and name not in _SIGNALS],
    }
    views = {name: _without(sys.modules[name], names) for name, names in hidden.items()}
    import_ = builtins.__import__

    def imported(name: str, globals: Any = None, *more: Any, **options: Any) -> Any:
        module = import_(name, globals, *more, **options)
        by_satseg = str((globals or {}).get("__name__", "")).partition(".")[0] == "satseg"
        return views.get(name, module) if by_satseg else module

    builtins.__import__ = imported
    sys.addaudithook(_refuse)


def odd_names(folder: Path) -> list[str]:
    """Return the names in a folder, at any depth, that Windows does not take."""
    names = [entry.name for entry in folder.rglob("*")]
    return [name for name in names if _FORBIDDEN & set(name) or name.endswith((".", " ")) or _DEVICE.fullmatch(name)]


def _third_party() -> list[str]:
    """Return the modules of other packages that satseg imports."""
    found: set[str] = set()
    for file in (ROOT / "satseg").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(str(node.module))
    known = {*sys.stdlib_module_names, "satseg", *_SPARED}
    return sorted(name for name in found if name.partition(".")[0] not in known)


def _without(module: ModuleType, names: Iterable[str]) -> ModuleType:
    view = ModuleType(module.__name__)
    vars(view).update({name: value for name, value in vars(module).items() if name not in {*names}})
    return view


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "os.symlink":
        raise OSError(1, "A required privilege is not held by the client", arguments[1])
    if event == "os.remove":
        _refuse_used(_place(arguments[0], arguments[1]))
    elif event == "os.rename":
        source, target = _place(arguments[0], arguments[2]), _place(arguments[1], arguments[3])
        if os.path.isdir(target):
            raise PermissionError(13, "Access is denied", target)
        _refuse_used(source)
        _refuse_used(target)
    elif event in ("open", "os.mkdir") and isinstance(arguments[0], (str, os.PathLike)):
        name = os.fspath(arguments[0])
        if event == "open" and name.startswith(("/proc/", "/sys/")) and _is_satseg(sys._getframe(1)):
            raise FileNotFoundError(2, "No such file or directory", name)
        creates = event == "os.mkdir" or (isinstance(arguments[2], int) and arguments[2] & os.O_CREAT)
        if creates and _FORBIDDEN & set(os.path.basename(name)):
            raise OSError(22, "The filename, directory name, or volume label syntax is incorrect", name)


def _place(name: Any, folder: Any) -> str:
    """Return a path that an event tells relative to an open folder, where it does."""
    relative = isinstance(folder, int) and folder >= 0
    return os.path.join(os.readlink(f"/proc/self/fd/{folder}") if relative else "", os.fsdecode(name))


def _refuse_used(path: str) -> None:
    """Refuse to touch a file that is open or mapped, and a folder that holds one."""
    path = os.path.realpath(path)
    for used in _used():
        if used == path or used.startswith(path + os.sep):
            raise PermissionError(13, "The process cannot access the file because it is being used", used)


def _used() -> set[str]:
    """Return the files that this process has open or mapped."""
    found: set[str] = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if stat.S_ISREG(os.stat(f"/proc/self/fd/{number}").st_mode):
                found.add(os.readlink(f"/proc/self/fd/{number}"))
    with open("/proc/self/maps") as maps:
        found |= {line[line.index("/") :].strip() for line in maps if "/" in line}
    return found


def _is_satseg(frame: FrameType | None) -> bool:
    """Tell whether satseg opens a file, by itself or through the standard library's ``Path``."""
    names = []
    while frame is not None:
        names.append(str(frame.f_globals.get("__name__", "")))
        frame = frame.f_back
    callers = (name for name in names if name.partition(".")[0] not in ("pathlib", "io", "codecs"))
    return next(callers, "").startswith("satseg")
