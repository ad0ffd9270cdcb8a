"""Put off the import of packages that a library asks for but seldom uses: small commands are half import."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from threading import RLock
from types import ModuleType
from typing import Any


def put_off(names: Iterable[str]) -> None:
    """Let ``import`` find packages at once, and load each when more than its name, file or version is asked of it.

    Does nothing for packages that are loaded already or not installed. Loaded, a package is the same as ever.

    Args:
        names: Of packages at top level, which are distributed under the same names.
    """
    for name in names:
        if name in sys.modules:
            continue
        spec = find_spec(name)
        try:
            release = version(name)
        except PackageNotFoundError:
            continue
        if spec is not None and spec.loader is not None:
            sys.modules[name] = _Deferred(spec, release)


def put_off_extension(name: str) -> None:
    """Let ``import`` find a compiled module at once, and import it and the packages around it when it is used.

    Does nothing if any of its package is loaded already.

    Args:
        name: Full name of a module that is installed.
    """
    if name.rpartition(".")[0] not in sys.modules:
        sys.modules.setdefault(name, _DeferredExtension(name))


class _Deferred(ModuleType):
    """A package that loads itself when it lacks an attribute. The import of a submodule asks for ``__path__``."""

    def __init__(self, spec: ModuleSpec, release: str) -> None:
        super().__init__(spec.name)
        self.__spec__ = spec
        self.__loader__ = spec.loader
        self.__package__ = spec.name
        self.__file__ = spec.origin
        self.__version__ = release
        self._lock = RLock()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if type(self) is _Deferred and "__path__" not in self.__dict__:  # it stands while the package loads
                self._load()
        if type(self) is _Deferred and name not in self.__dict__:  # the package asks for what it has not come to
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        return getattr(self, name)

    def _load(self) -> None:
        spec = self.__spec__
        assert spec is not None
        assert spec.loader is not None
        self.__path__ = spec.submodule_search_locations or []
        try:
            spec.loader.exec_module(self)
        except BaseException:
            del self.__path__  # whoever asks next meets the error, too
            raise
        self.__class__ = ModuleType  # type: ignore[assignment]


class _DeferredExtension(ModuleType):
    """Stands for a compiled module until an attribute is asked for; those who hold it are answered by that module."""

    __file__ = None

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)
