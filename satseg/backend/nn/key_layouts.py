"""Names of tensors in files of weights: those of other libraries, told apart and turned into timm's.

timm and torchvision name ResNets, DenseNets and VGGs alike, and so do segmentation-models-pytorch (SMP) and torchgeo,
whose encoders lie below a prefix in whole networks. EfficientNets and ConvNeXts have other names in torchvision, and
EfficientNets those of the package efficientnet-pytorch in SMP and elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

Rename = Callable[[str], str]
"""Returns timm's name for a name in another layout; the name itself if it has none."""

_WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema", "encoder", "backbone")
_AROUND = re.compile(r"^((module|_orig_mod)\.)+")  # of DataParallel and of torch.compile
_PREFIXES = {
    "": None,
    "backbone.": "torchvision",  # of its networks for segmentation
    "backbone.body.": "torchvision",  # and of those for detection
    "encoder.": "SMP",
    "encoder.model.": "SMP",  # around an encoder of timm
    "model.": "torchgeo",
    "model.backbone.": "torchgeo",
    "model.encoder.": "torchgeo",
    "model.encoder.model.": "torchgeo",
}
"""Where the encoder lies in whole networks, and the library whose networks these are."""

_VGG = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
_OWN_NAMES = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_EXPANDING = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
_EXPANDING |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
_TV_PLAIN = {"0.0": "conv_dw", "0.1": "bn1", "1.fc1": "se.conv_reduce", "1.fc2": "se.conv_expand"}
_TV_PLAIN |= {"2.0": "conv_pw", "2.1": "bn2"}
_TV_EXPANDING = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2"}
_TV_EXPANDING |= {"2.fc1": "se.conv_reduce", "2.fc2": "se.conv_expand", "3.0": "conv_pwl", "3.1": "bn3"}
_CONVNEXT = {
    "block.0": "conv_dw",
    "block.2": "norm",
    "block.3": "mlp.fc1",
    "block.5": "mlp.fc2",
    "layer_scale": "gamma",
}

_SEGFORMER_PARTS = {"patch_embed": "patches", "block": "blocks", "norm": "norm"}
_SEGFORMER_LAYERS = {"mlp.dwconv.dwconv": "mlp.conv", "attn.sr": "attn.reduce"}


@dataclass(frozen=True)
class Renamed:
    """Weights under timm's names.

    Args:
        tensors: Those that the encoder has, by timm's names.
        layout: Library that names them as the file does.
        total: Tensors in the file.
    """

    tensors: dict[str, Tensor]
    layout: str
    total: int


def unwrap(content: object) -> dict[str, Tensor]:
    """Return the tensors of what a file holds: a state dict, or a checkpoint that holds one under a usual name.

    Raises:
        ValueError: It holds none.
    """
    while isinstance(content, Mapping):
        inner = next((content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if inner is None and content and all(isinstance(value, Tensor) for value in content.values()):
            return {_AROUND.sub("", str(name)): value for name, value in content.items()}
        content = inner
    raise ValueError("It holds no tensors by name.")


def as_timm(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Renamed:
    """Find an encoder among tensors, in the layout that has most of its names, and give them timm's names.

    Tensors of another shape with as many values, such as weights of a linear layer that timm has as a convolution, are
    reshaped.

    Args:
        state: Tensors of a file.
        wanted: Tensors of the encoder in timm, of which only the shapes matter.
    """
    by_flat = {flat(name): name for name in wanted}
    found = []
    layouts: list[tuple[str, Rename]] = [("timm", str), *_renamings(state, wanted)]
    for layout, rename in layouts:
        for prefix, library in _PREFIXES.items():
            inner = {flat(rename(name.removeprefix(prefix))): name for name in state if name.startswith(prefix)}
            tensors = {by_flat[flat]: state[name] for flat, name in inner.items() if flat in by_flat}
            found.append(Renamed(tensors, library or layout, len(state)))
    best = max(found, key=lambda renamed: len(renamed.tensors))
    for name, tensor in best.tensors.items():
        if tensor.shape != wanted[name].shape and tensor.numel() == wanted[name].numel():
            best.tensors[name] = tensor.reshape(wanted[name].shape)
    return best


def _renamings(state: Iterable[str], wanted: Iterable[str]) -> Iterator[tuple[str, Rename]]:
    """Yield the layouts with names of their own, and how to turn these into timm's."""
    places = dict.fromkeys(match.groups() for name in wanted if (match := re.match(r"blocks\.(\d+)\.(\d+)\.", name)))
    expanding = {match[1] for name in state if (match := re.search(r"_blocks\.(\d+)\._expand_conv\.", name))}
    yield "efficientnet-pytorch", lambda name: _of_efficientnet_pytorch(name, list(places), expanding)
    expanding_tv = {match[1] for name in state if (match := re.search(r"features\.(\d+\.\d+)\.block\.3\.", name))}
    yield "torchvision", lambda name: _of_torchvision_efficientnet(name, expanding_tv)
    yield "torchvision", _of_torchvision_convnext
    yield "SegFormer", _of_segformer
    yield "torchvision", lambda name: _replaced(name, _VGG)


def _of_efficientnet_pytorch(name: str, places: list[tuple[str, ...]], expanding: set[str]) -> str:
    """Rename a tensor of EfficientNet in efficientnet-pytorch, which numbers all blocks in a row.

    Args:
        name: Its name.
        places: Stage and number of each block in timm.
        expanding: Numbers of the blocks that begin with a convolution to more channels.
    """
    block = re.fullmatch(r"_blocks\.(\d+)\.(.+)", name)
    if block is None or int(block[1]) >= len(places):
        return _replaced(name, _OWN_NAMES)
    stage, number = places[int(block[1])]
    layers = _EXPANDING if block[1] in expanding else _PLAIN
    return f"blocks.{stage}.{number}.{_replaced(block[2], layers | _SQUEEZE)}"


def _of_torchvision_efficientnet(name: str, expanding: set[str]) -> str:
    """Rename a tensor of EfficientNet in torchvision, which numbers the layers of a block."""
    block = re.fullmatch(r"features\.(([1-7])\.(\d+))\.block\.(.+)", name)
    if block is None:
        return _replaced(
            name,
            {"features.0.0": "conv_stem", "features.0.1": "bn1", "features.8.0": "conv_head", "features.8.1": "bn2"},
        )
    layers = _TV_EXPANDING if block[1] in expanding else _TV_PLAIN
    return f"blocks.{int(block[2]) - 1}.{block[3]}.{_replaced(block[4], layers)}"


def _of_torchvision_convnext(name: str) -> str:
    """Rename a tensor of ConvNeXt in torchvision, where stages and the steps between them take turns."""
    stage = re.fullmatch(r"features\.(\d)\.(\d+)\.?(.*)", name)
    if stage is None:
        return _replaced(name, {"classifier.0": "head.norm", "classifier.2": "head.fc"})
    number, place, rest = int(stage[1]), stage[2], stage[3]
    if number == 0:
        return f"stem.{place}.{rest}"
    if number % 2 == 0:
        return f"stages.{number // 2}.downsample.{place}.{rest}"
    return f"stages.{number // 2}.blocks.{place}.{_replaced(rest, _CONVNEXT)}"


def _of_segformer(name: str) -> str:
    """Rename a tensor of Mix Transformer in the authors' code, which numbers the parts of all stages from 1."""
    part = re.fullmatch(r"(patch_embed|block|norm)(\d)\.(.+)", name)
    if part is None:
        return name
    kind, rest = _SEGFORMER_PARTS[part[1]], part[3]
    for old, new in _SEGFORMER_LAYERS.items():
        rest = rest.replace(old, new)
    return f"stages.{int(part[2]) - 1}.{kind}.{rest}"


def _replaced(name: str, beginnings: Mapping[str, str]) -> str:
    """Return a name whose beginning is replaced, if it is listed."""
    for old, new in beginnings.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name


def flat(name: str) -> str:
    """Return a name that is the same in a network of timm and in the extractor of its features."""
    return name.removeprefix("model.").replace(".", "_")
