"""Enough of Ray, in one process and by chance: tasks end in any order, actors die, and results are lost."""

from __future__ import annotations

import inspect
import pickle
import random
from collections import deque
from collections.abc import Callable, Container
from itertools import islice
from types import ModuleType, SimpleNamespace
from typing import Any


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class ActorDiedError(RayError):
    pass


class ObjectLostError(RayError):
    pass


class Reference:
    """What a task will give."""

    def __init__(self) -> None:
        self.done = False
        self.value: bytes | RayError = b""

    def set(self, value: Any) -> None:
        self.done = True
        self.value = value if isinstance(value, RayError) else pickle.dumps(value)


class Actor:
    """An object that runs one task after the other, until it dies."""

    def __init__(self, ray: PretendedRay, made: Any) -> None:
        self._ray = ray
        self.made = made
        self.dead = False
        self.tasks: deque[tuple[str, tuple[Any, ...], list[Reference]]] = deque()
        ray.actors.append(self)

    def __getattr__(self, name: str) -> Any:
        return Method(self, name)

    def submit(self, name: str, args: tuple[Any, ...], count: int) -> list[Reference]:
        references = [Reference() for _ in range(count)]
        if self.dead:
            self.fail(references)
        else:
            self.tasks.append((name, args, references))
        return references

    def work(self) -> None:
        name, args, references = self.tasks.popleft()
        if name == "map_block" and self._ray.kills():
            self.fail(references)
            return self.die()
        given = [self._ray.get(arg) if isinstance(arg, Reference) else arg for arg in args]
        try:
            result = getattr(self.made, name)(*given)
            values = [result] if not inspect.isgenerator(result) else list(islice(result, len(references) + 1))
            assert len(values) == len(references), f"{name} gave {len(values)} values, {len(references)} are wanted"
            for reference, value in zip(references, values, strict=True):
                reference.set(value)
        except Exception as error:
            for reference in references:
                reference.set(RayTaskError(error))
        return None

    def die(self) -> None:
        self.dead = True
        while self.tasks:
            self.fail(self.tasks.popleft()[2])

    def fail(self, references: list[Reference]) -> None:
        for reference in references:
            reference.set(ActorDiedError("The actor died.\nIts process was killed."))


class Method:
    """A method of an actor."""

    def __init__(self, actor: Actor, name: str, count: int = 1) -> None:
        self._actor = actor
        self._name = name
        self._count = count

    def options(self, *, num_returns: int) -> Method:
        return Method(self._actor, self._name, num_returns)

    def remote(self, *args: Any) -> Any:
        references = self._actor.submit(self._name, args, self._count)
        return references[0] if self._count == 1 else references


class PretendedRay(ModuleType):
    """The module.

    Args:
        machines: Cores of each.
        seed: Of what happens by chance.
        deadly: Which blocks kill their actor, counted from 1 as they are begun.
        lossy: Share of results that are lost when they are asked for.
        clusters: Addresses at which there is a cluster.
    """

    def __init__(
        self,
        machines: list[int],
        *,
        seed: int = 0,
        deadly: Container[int] = (),
        lossy: float = 0,
        clusters: tuple[str, ...] = ("auto", "local"),
    ) -> None:
        super().__init__("ray")
        self.exceptions = SimpleNamespace(
            RayError=RayError, RayTaskError=RayTaskError, ActorDiedError=ActorDiedError, ObjectLostError=ObjectLostError
        )
        self._deadly = deadly
        self._blocks = 0
        self.lossy = lossy
        self.actors: list[Actor] = []
        self.started: list[dict[str, Any]] = []
        self._machines = machines
        self._clusters = clusters
        self.chance: Callable[[], float] = random.Random(seed).random

    def kills(self) -> bool:
        self._blocks += 1
        return self._blocks in self._deadly

    def init(self, **options: Any) -> None:
        if options["address"] not in self._clusters:
            raise ConnectionError("There is none.")
        self.started.append(options)

    def is_initialized(self) -> bool:
        return bool(self.started)

    def shutdown(self) -> None:
        self.started.clear()

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": float(cores)}} for cores in self._machines]

    def remote(self, made: Any) -> Any:
        def make(*args: Any) -> Actor:
            return Actor(self, made(*args))

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=make))

    def put(self, value: Any) -> Reference:
        reference = Reference()
        reference.set(value)
        return reference

    def get(self, reference: Reference) -> Any:
        while not reference.done:
            self._work()
        if isinstance(reference.value, RayError):
            raise reference.value
        if self.lossy and b"Part" in reference.value and self.chance() < self.lossy:
            raise ObjectLostError("It was lost.")
        return pickle.loads(reference.value)

    def wait(
        self, references: list[Reference], *, num_returns: int = 1, timeout: float | None = None
    ) -> tuple[list[Reference], list[Reference]]:
        while timeout and sum(reference.done for reference in references) < num_returns:
            self._work()
        done = [reference for reference in references if reference.done][:num_returns]
        return done, [reference for reference in references if reference not in done]

    def kill(self, actor: Actor) -> None:
        actor.die()

    def _work(self) -> None:
        busy = [actor for actor in self.actors if actor.tasks]
        assert busy, "somebody waits for what nobody does"
        busy[int(self.chance() * len(busy))].work()
