"""PointRend: a small network decides anew at the points where a coarse map of the classes is least certain.

Kirillov, Wu, He, Girshick: "PointRend: Image Segmentation as Rendering", CVPR 2020, arXiv 1912.08193. Layers follow its
section 5; the coarse map is that of Kirillov, Girshick, He, Dollár: "Panoptic Feature Pyramid Networks", CVPR 2019,
arXiv 1901.02446, Figure 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal, normal
from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.resize import resize_like
from satseg.classes import IGNORE_INDEX

_PYRAMID_WIDTH, _WIDTH, _POINT_WIDTH = 256, 128, 256
_GROUPS = 32  # of the group normalisation
_FINEST = 4  # stride of the coarse map
_STEPS = 2  # doublings from there to the size of the image
_TRAINED = 2048  # points of an image, section 5.1
_CANDIDATES = 3  # times as many are drawn, and the least certain ones of these are taken
_UNCERTAIN = 0.75  # share of them among the points; the others lie anywhere
_SMALL = 1e-3  # standard deviation of the weights that decide at points, in the authors' code


class SemanticFPN(nn.Module):
    """A feature pyramid and the branch for classes on it.

    Args:
        encoder: Backbone with features at strides 4 to 32.
    """

    global_context = True  # group normalisation takes its statistics from the whole window

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        inputs = encoder.channels_from(_FINEST)
        strides = encoder.strides[-len(inputs) :]
        self.lateral = nn.ModuleList(nn.Conv2d(channels, _PYRAMID_WIDTH, 1) for channels in inputs)
        self.smooth = nn.ModuleList(nn.Conv2d(_PYRAMID_WIDTH, _PYRAMID_WIDTH, 3, padding=1) for _ in inputs)
        self.branches = nn.ModuleList(_to_finest(stride) for stride in strides)
        he_normal(self)

    def forward(self, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return (N, 128, H/4, W/4) and the finest features (N, 256, H/4, W/4) for the encoder's levels."""
        merged: Tensor | None = None
        parts, finest = [], levels[0]
        for i in reversed(range(len(self.lateral))):  # from the coarsest to the finest
            own = self.lateral[i](levels[i - len(self.lateral)])
            merged = own if merged is None else own + F.interpolate(merged, scale_factor=2, mode="nearest")
            finest = self.smooth[i](merged)
            parts.append(self.branches[i](finest))  # (N, 128, H/4, W/4)
        return torch.stack(parts).sum(dim=0), finest


class PointHead(nn.Module):
    """Decides at points by their fine features and coarse scores (section 3.3).

    Args:
        num_classes: Classes of the output.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        widths = (_PYRAMID_WIDTH + num_classes, _POINT_WIDTH, _POINT_WIDTH)
        self.layers = nn.Sequential(
            *(layer for width in widths for layer in (nn.Conv2d(width, _POINT_WIDTH, 1), nn.ReLU(inplace=True)))
        )
        self.last = nn.Conv2d(_POINT_WIDTH, num_classes, 1)
        he_normal(self.layers)
        normal(self.last, std=_SMALL)

    def forward(self, fine: Tensor, coarse: Tensor, places: Tensor) -> Tensor:
        """Return logits (N, K, 1, P) at places (N, 1, P, 2) of features (N, 256, h, w) and scores (N, K, h, w)."""
        return self.last(self.layers(torch.cat([_sample(fine, places), _sample(coarse, places)], dim=1)))


class PointRend(nn.Module):
    """The coarse map and what refines it.

    Args:
        encoder: Backbone with features at strides 4 to 32.
        num_classes: Outputs.
        refined: How many of these, the first ones, are classes, which are refined; the others stay as they are.
    """

    def __init__(self, encoder: Encoder, num_classes: int, *, refined: int) -> None:
        super().__init__()
        self.refined = refined
        self.pyramid = SemanticFPN(encoder)
        self.head = nn.Conv2d(_WIDTH, num_classes, 1)
        self.points = PointHead(refined)
        he_normal(self.head)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        coarse, fine = self.coarse(pad_to_multiple(images, self.encoder.strides[-1]))
        scores = coarse
        for _ in range(_STEPS):
            size = [2 * side for side in scores.shape[-2:]]
            scores = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
            scores = self.refine(scores, coarse, fine)
        return scores[..., :height, :width]

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits of the coarse map, and what is decided at points of the images.

        Returns:
            Logits (N, num_classes, H, W); ``points``, logits (N, classes, 1, P); and ``places`` (N, 1, P, 2), row and
            column of these points in pixels of the image from its edges.
        """
        height, width = images.shape[-2:]
        padded = pad_to_multiple(images, self.encoder.strides[-1])
        coarse, fine = self.coarse(padded)
        whole = images.new_tensor(padded.shape[-2:])
        classes = coarse[:, : self.refined]
        places = _draw(classes, images.new_tensor([height, width]) / whole)
        logits = resize_like(coarse, padded)[..., :height, :width]
        return logits, {"points": self.points(fine, classes, places), "places": places * whole}

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return the cross-entropy at the points; targets (N, H, W) int64, 255 ignored."""
        rows, columns = outputs["places"].squeeze(1).floor().long().unbind(2)  # (N, P) each
        height, width = targets.shape[-2:]
        samples = torch.arange(len(targets), device=targets.device)[:, None]
        labels = targets[samples, rows.clamp(max=height - 1), columns.clamp(max=width - 1)]
        labels = labels.masked_fill((rows >= height) | (columns >= width), IGNORE_INDEX)
        losses = F.cross_entropy(
            outputs["points"].squeeze(2).float(), labels, ignore_index=IGNORE_INDEX, reduction="sum"
        )
        return losses / (labels != IGNORE_INDEX).sum().clamp(min=1)

    def coarse(self, padded: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, num_classes, H/4, W/4) and the finest features (N, 256, H/4, W/4) for images (N, C, H, W)."""
        features, fine = self.pyramid(self.encoder(padded))
        return self.head(features), fine

    def refine(self, scores: Tensor, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return scores of a finer stride, decided anew at the least certain of their pixels.

        These are half as many as pixels of the coarse map: 8,192 of a window of 512 px.

        Args:
            scores: (N, num_classes, h, w) interpolated from the coarse map.
            coarse: (N, num_classes, H/4, W/4) the coarse map.
            fine: (N, 256, H/4, W/4) finest features.
        """
        height, width = scores.shape[-2:]
        classes, others = scores[:, : self.refined], scores[:, self.refined :]
        count = coarse.shape[-2] * coarse.shape[-1] // 2
        chosen = _uncertainty(classes).flatten(1).topk(count, dim=1).indices  # (N, P)
        sides = torch.full_like(chosen, height), torch.full_like(chosen, width)  # ONNX divides by no open scalar
        row = torch.div(chosen, sides[1], rounding_mode="floor")
        at = torch.stack([row, chosen - row * sides[1]], dim=2) + 0.5
        places = (at / torch.stack(sides, dim=2))[:, None]  # (N, 1, P, 2)
        decided = self.points(fine, coarse[:, : self.refined], places).flatten(2).to(scores.dtype)  # (N, K, P)
        flat = classes.flatten(2).scatter(2, chosen[:, None].expand(-1, self.refined, -1), decided)
        return torch.cat([flat.view(-1, self.refined, height, width), others], dim=1)


def pointrend(
    *,
    in_channels: int,
    num_classes: int,
    edges: bool = False,
    encoder: str = "resnet101",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> PointRend:
    """Build PointRend: Semantic FPN on ResNet-101, decided anew at the points where it is least certain.

    Paper: Kirillov et al., "PointRend: Image Segmentation as Rendering", CVPR, arXiv 1912.08193
    Year: 2020
    Family: pyramid
    Encoder: resnet101
    Parameters: 47,677,926
    Multiply-adds: 66.8 G
    Output stride: 32
    Rate: 3e-3
    Use: fine outlines at little cost, pretrained encoder, on a GPU

    The coarse map has stride 4. It is doubled twice, and each time the pixels where the first two classes are closest
    to each other get the decision of three layers, 256 wide, on the finest features and the coarse scores there. These
    are 8,192 pixels of a window of 512 px in each step, as in the authors' configuration, and in proportion to its area
    in others. Training takes the cross-entropy of 2,048 points of each image, three quarters of which are the least
    certain ones of three times as many random ones (section 3.3). These are the layers of the authors' code for
    semantic segmentation, in which coarse scores enter the first of the three alone.

    Sizes that 32 does not divide are mirrored at the right and bottom edge and cut back. Deviations: convolutions start
    as He et al. (2015) propose; norms of the encoder are trained, where the authors freeze them; its stages halve their
    features in 3x3 convolutions, where theirs do in 1x1 ones (1.2 G multiply-adds less); features at the edge of the
    image go on beyond it, where theirs fade to zero within the outermost half of a feature.

    Args:
        in_channels: Bands of the input.
        num_classes: Outputs.
        edges: Whether the last two outputs are no classes but those of objects, which are not refined.
        encoder: Backbone of timm with features at strides 4 to 32.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(encoder, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights)
    return PointRend(backbone, num_classes, refined=num_classes - 2 * edges)


def _to_finest(stride: int) -> nn.Sequential:
    """Return 3x3 convolutions, each followed by a doubling, up to stride 4; one without where it is there already."""
    doublings = (stride // _FINEST).bit_length() - 1
    layers: list[nn.Module] = []
    for number in range(max(1, doublings)):
        channels = _WIDTH if number else _PYRAMID_WIDTH
        layers += [nn.Conv2d(channels, _WIDTH, 3, padding=1, bias=False), nn.GroupNorm(_GROUPS, _WIDTH), nn.ReLU()]
        if doublings:
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear"))
    return nn.Sequential(*layers)


def _uncertainty(scores: Tensor) -> Tensor:
    """Return how little the first class is above the second one, 0 and less, (N, H, W) of scores (N, K, H, W)."""
    best = scores.topk(min(2, scores.shape[1]), dim=1).values
    return best[:, -1] - best[:, 0]


def _sample(maps: Tensor, places: Tensor) -> Tensor:
    """Interpolate maps (N, C, h, w) at places (N, 1, P, 2), row and column in 0..1 from edge to edge: (N, C, 1, P)."""
    grid = (2 * places - 1).flip(3)  # in 32 bits: bfloat16 has no place for single pixels
    return F.grid_sample(maps.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)


@torch.no_grad()
def _draw(scores: Tensor, extent: Tensor) -> Tensor:
    """Draw places (N, 1, P, 2) to learn at, within ``extent`` (2,), the share of the maps that is image."""
    images, uncertain = len(scores), round(_UNCERTAIN * _TRAINED)
    candidates = torch.rand(images, 1, _CANDIDATES * _TRAINED, 2, device=scores.device) * extent
    order = _uncertainty(_sample(scores, candidates)).flatten(1).topk(uncertain, dim=1).indices
    least_certain = candidates.gather(2, order[:, None, :, None].expand(-1, 1, -1, 2))
    anywhere = torch.rand(images, 1, _TRAINED - uncertain, 2, device=scores.device) * extent
    return torch.cat([least_certain, anywhere], dim=2)
