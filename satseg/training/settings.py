"""Settings of a training run: the recipe, and how the run goes."""

from __future__ import annotations

from typing import Annotated, Any

from satseg.arguments import Given, PathLike, path
from satseg.backend import named_encoder
from satseg.backend.settings import AUTO_ARCH, Device, Threads, architectures
from satseg.errors import UsageError
from satseg.settings import OUTPUTS, PERFORMANCE, WEIGHTS, Option
from satseg.training.recipe import Recipe


class TrainSettings(Recipe):
    """Settings of a training run: its recipe, its budget, its devices and what it writes.

    A resumed run keeps its recipe: another value is refused, except for ``patience``. All other settings may change; of
    those, ``device``, ``devices``, ``nodes``, ``threads``, ``pictures`` and ``tensorboard`` keep the values of the run
    unless they are given.
    """

    epochs: Annotated[
        float | None,
        Option("Epochs. Default: 40, unless `steps` or `minutes` is given.", recorded=False),
    ] = None
    steps: Annotated[int | None, Option("Optimizer updates.", recorded=False)] = None
    minutes: Annotated[
        float | None,
        Option("Minutes of training; start-up and validation are not counted.", recorded=False),
    ] = None
    resume: Annotated[
        bool,
        Option(
            "Resume a run with its own tiles and settings: the one in `output`, else the newest unfinished one below "
            "runs/. With `epochs`, `steps` or `minutes`, continue until this total, even if the run is finished; the "
            "learning rate follows the schedule of the new length. Start a run if there is none.",
            recorded=False,
        ),
    ] = False
    base: Annotated[
        str | None,
        Option(
            "Network with which hmsa looks at several scales: any that `satseg models` lists. Default: ocrnet.",
            metavar="NAME",
            complete=architectures,
        ),
    ] = None
    encoder: Annotated[
        str | None,
        Option(
            "Encoder from timm, for networks with an exchangeable encoder; or its address, which brings its weights: "
            "at a hub, hf-hub:organisation/name, or in the package of satseg-cli[multispectral], ukis-csmask:6b-l2a.",
            metavar="NAME",
            panel=WEIGHTS,
        ),
    ] = None
    pretrained: Annotated[
        bool,
        Option(
            "Start the encoder from pretrained weights: of a package of satseg-cli[encoders] if it has them, else of "
            "timm, which are downloaded once.",
            panel=WEIGHTS,
        ),
    ] = False
    encoder_weights: Annotated[
        Given[PathLike | None, str | None],
        Option(
            "Start the encoder from the weights in this file, .safetensors or .pth with tensors only, named as timm, "
            "torchvision, SMP or torchgeo do; or from an address at a hub or in a package, as `encoder` takes it.",
            metavar="FILE",
            panel=WEIGHTS,
        ),
    ] = Given(path)
    device: Device = "auto"
    devices: Annotated[
        int,
        Option("Devices per node, with one process each.", panel=PERFORMANCE, minimum=1, recorded=False),
    ] = 1
    nodes: Annotated[int, Option("Number of nodes.", panel=PERFORMANCE, minimum=1, recorded=False)] = 1
    threads: Threads = None
    cache_bytes: Annotated[
        int, Option("Memory for decoded tiles on each node, in bytes.", python_only=True, recorded=False)
    ] = 2**30
    pictures: Annotated[
        bool,
        Option(
            "Draw curves.png, and tiles.png with the best and worst validation tiles, into the folder of the run.",
            panel=OUTPUTS,
            recorded=False,
        ),
    ] = True
    show_augment: Annotated[
        bool,
        Option(
            "Draw augmented.png with augmented training tiles into the folder of the run.",
            panel=OUTPUTS,
            recorded=False,
        ),
    ] = False
    tensorboard: Annotated[
        bool, Option("Write TensorBoard events into the folder of the run.", panel=OUTPUTS, recorded=False)
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.base and self.arch == AUTO_ARCH:
            raise UsageError(
                f"`base` is {self.base}, but no network is named that could look with it.", hint="`arch='hmsa'`"
            )

    @property
    def network_options(self) -> dict[str, Any]:
        """All options of the network, by name, those of its encoder among them."""
        named = {
            "base": self.base,
            "encoder": self.encoder,
            "pretrained": self.pretrained,
            "encoder_weights": self.encoder_weights,
        }
        return super().network_options | {name: value for name, value in named.items() if value}

    @property
    def sets_budget(self) -> bool:
        """Whether a budget is given."""
        return (self.epochs, self.steps, self.minutes) != (None, None, None)

    def recipe(self, **resolved: Any) -> Recipe:
        """Return the recipe alone, with values that were resolved in place of ``auto``.

        Raises:
            ArchitectureError: The encoder is at a hub that cannot be reached, or is none of timm.
        """
        return Recipe(**self.to_dict() | {"arch_options": named_encoder(self.network_options)} | resolved)
