"""Loss expressions: weighted sums of losses such as ``ce + 0.5*dice`` or ``focal(gamma=1.5) + lovasz``.

A network that learns objects has a loss for each of its outputs for them: ``boundary`` and ``distance`` of edges, or
``centre`` and ``offset`` of centres. Their factors are those of :data:`OBJECT_LOSSES` unless the expression names them
with another one.

expression = term { "+" term }
term       = [ number "*" ] loss
loss       = name [ "(" option "=" number { "," option "=" number } ")" ]
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from torch import Tensor, nn

from satseg.classes import IGNORE_INDEX
from satseg.errors import UsageError
from satseg.objects import ObjectOutputs
from satseg.training import centre_losses, object_losses
from satseg.training.devices import Total, single_device
from satseg.training.mutual_information import region_mutual_information
from satseg.training.pixel_losses import cross_entropy, focal, ohem, relaxed
from satseg.training.region_losses import dice, jaccard, lovasz, tversky

LOSSES: Mapping[str, Callable[..., Tensor]] = {
    "ce": cross_entropy,
    "dice": dice,
    "focal": focal,
    "jaccard": jaccard,
    "lovasz": lovasz,
    "tversky": tversky,
    "ohem": ohem,
    "relaxed": relaxed,
    "rmi": region_mutual_information,
}


@dataclass(frozen=True)
class ObjectLoss:
    """The loss of an output that a network has beside the classes.

    Args:
        of: Computes it from logits, objects, counted and a sum over devices.
        planes: Planes of the output.
        factor: Weight of the loss where the expression gives none.
    """

    of: Callable[..., Tensor]
    planes: int = 1
    factor: float = 1.0


OBJECT_LOSSES: Mapping[ObjectOutputs, Mapping[str, ObjectLoss]] = {
    ObjectOutputs.EDGES: {
        "boundary": ObjectLoss(object_losses.boundary),
        "distance": ObjectLoss(object_losses.distance),
    },
    ObjectOutputs.CENTRES: {  # factors of Panoptic-DeepLab, arXiv 1911.10194, section 3.2
        "centre": ObjectLoss(centre_losses.centre, factor=200.0),
        "offset": ObjectLoss(centre_losses.offset, planes=2, factor=0.01),
    },
}
"""Losses of what a network says of objects, in the order of its outputs."""

_OF_OBJECTS = {name: loss.of for losses in OBJECT_LOSSES.values() for name, loss in losses.items()}
_KNOWN: Mapping[str, Callable[..., Tensor]] = {**LOSSES, **_OF_OBJECTS}
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TOKEN = re.compile(rf"\s*(?:(?P<number>{_NUMBER})|(?P<name>[A-Za-z_]\w*)|(?P<sign>[-+*(),=])|(?P<end>$))")


@dataclass(frozen=True)
class Term:
    """One term of a loss expression.

    Args:
        factor: Weight of the loss.
        name: Name of the loss, a key of ``LOSSES``, or of an entry of ``OBJECT_LOSSES``.
        options: Options of the loss.
    """

    factor: float
    name: str
    options: Mapping[str, float] = field(default_factory=dict)


class Loss(nn.Module):
    """A weighted sum of losses.

    Args:
        expression: Loss expression such as ``ce + 0.5*dice``.
        class_weights: (K,) class weights for pixel losses; None weighs classes equally.
        objects: What the network learns about objects, if anything.
        total: Sums over devices.

    Raises:
        UsageError: The expression cannot be parsed, has no loss of classes, or names a loss of objects that the
            network does not learn.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        expression: str,
        class_weights: Tensor | None = None,
        *,
        objects: ObjectOutputs | None = None,
        total: Total = single_device,
    ) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights)
        terms = parse_loss(expression)
        self.terms = tuple(term for term in terms if term.name in LOSSES)
        named: dict[str, float] = {}
        for term in terms:
            if term.name in _OF_OBJECTS:
                named[term.name] = named.get(term.name, 0.0) + term.factor
        if not self.terms:
            raise UsageError(
                f"The loss {expression!r} has no term for classes, which would not be learnt.",
                hint=f"For example 'ce + dice + {expression}'.",
            )
        if named and objects is None:
            raise UsageError(
                f"The loss {expression!r} has a term {next(iter(named))}, but the network learns no objects.",
                hint="Keep objects in the tile set, `objects=True` of `satseg.tile`, and leave out `objects=False`.",
            )
        learnt = OBJECT_LOSSES[objects] if objects else {}
        if strange := named.keys() - learnt.keys():
            raise UsageError(
                f"The loss {expression!r} has a term {min(strange)}, which is none of the network: of objects, it "
                f"learns {' and '.join(learnt)}.",
                hint=f"Leave the term out, or name {' or '.join(learnt)}.",
            )
        self._of_objects = [(named.get(name, loss.factor), loss) for name, loss in learnt.items()]
        self._total = total

    def forward(self, outputs: Tensor, targets: Tensor, objects: Tensor | None = None) -> Tensor:
        """Return the scalar loss of a batch.

        Args:
            outputs: (N, K, H, W) logits of the classes, and what the network says of objects if it learns them.
            targets: (N, H, W) int64, 255 = ignore.
            objects: (N, P, H, W), see :data:`satseg.objects.targets.TARGETS`; not used unless the network learns
                objects.
        """
        planes = [loss.planes for _, loss in self._of_objects]
        logits, *others = outputs.split([outputs.shape[1] - sum(planes), *planes], dim=1)
        losses = [
            term.factor * LOSSES[term.name](logits, targets, self.class_weights, self._total, **term.options)
            for term in self.terms
        ]
        counted = targets != IGNORE_INDEX
        for (factor, loss), other in zip(self._of_objects, others, strict=True):
            losses.append(factor * loss.of(other.squeeze(1), objects, counted, self._total))
        return sum(losses[1:], losses[0])


def parse_loss(expression: str) -> tuple[Term, ...]:
    """Parse a loss expression.

    Raises:
        UsageError: The expression cannot be parsed; the message gives the position of the error, counted from 1.
    """
    return _Reader(expression).terms()


class _Reader:
    """Recursive descent parser of a loss expression."""

    def __init__(self, expression: str) -> None:
        self._text = expression
        self._next = 0
        self._advance()

    def terms(self) -> tuple[Term, ...]:
        found = [self._term()]
        while self._accept("+"):
            found.append(self._term())
        if self._kind != "end":
            self._fail("'+' or the end")
        return tuple(found)

    def _term(self) -> Term:
        factor = 1.0
        if self._kind == "number":
            factor = self._number()
            self._expect("*")
        at, name = self._at, self._name("a loss")
        if name not in _KNOWN:
            self._unknown(f"there is no loss {name!r}", at, name, _KNOWN)
        options = self._options(name) if self._accept("(") else {}
        return Term(factor, name, options)

    def _options(self, loss: str) -> dict[str, float]:
        taken = [p.name for p in inspect.signature(_KNOWN[loss]).parameters.values() if p.kind is p.KEYWORD_ONLY]
        options: dict[str, float] = {}
        while True:
            at, option = self._at, self._name(f"an option of {loss}")
            if option not in taken:
                self._unknown(f"{loss} has no option {option!r}", at, option, taken)
            self._expect("=")
            at = self._at
            options[option] = self._number()
            if option == "smoothing" and options[option] >= 1:
                self._raise("smoothing is a share, below 1", at, "For example: 'ce(smoothing=0.1) + dice'.")
            if not self._accept(","):
                break
        self._expect(")")
        return options

    def _number(self) -> float:
        value = self._take("number", "a number")
        return float(value)

    def _name(self, what: str) -> str:
        return self._take("name", what)

    def _take(self, kind: str, what: str) -> str:
        if self._kind != kind:
            self._fail(what)
        token = self._token
        self._advance()
        return token

    def _accept(self, sign: str) -> bool:
        if self._token != sign:
            return False
        self._advance()
        return True

    def _expect(self, sign: str) -> None:
        if not self._accept(sign):
            self._fail(repr(sign))

    def _advance(self) -> None:
        found = _TOKEN.match(self._text, self._next)
        if found is None:
            self._at = self._next + len(self._text[self._next :]) - len(self._text[self._next :].lstrip())
            self._kind, self._token = "unknown", self._text[self._at]
            return
        self._kind, self._token = str(found.lastgroup), found[found.lastgroup or 0]
        self._at, self._next = found.start(self._kind), found.end()

    def _fail(self, expected: str) -> NoReturn:
        found = f"{self._token!r}" if self._token else "nothing"
        self._raise(f"expected {expected}, found {found}", self._at, "A valid loss is 'ce + 0.5*dice'.")

    def _unknown(self, problem: str, at: int, name: str, known: Mapping[str, object] | list[str]) -> NoReturn:
        near = difflib.get_close_matches(name, list(known), n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Choose from {', '.join(known)}." if known else None
        self._raise(problem, at, hint)

    def _raise(self, problem: str, at: int, hint: str | None) -> NoReturn:
        raise UsageError(f"The loss {self._text!r} is invalid at character {at + 1}: {problem}.", hint=hint)
