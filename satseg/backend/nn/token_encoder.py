"""Plain vision transformers of timm as they are: the tokens behind several of their blocks, and the class token."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from satseg.backend.nn.encoders import by_name, create_backbone, suitable
from satseg.backend.nn.mix_transformer import DEPTHS
from satseg.backend.nn.padding import pad_to_multiple
from satseg.errors import ArchitectureError

_TAPS = 4


class TokenEncoder(nn.Module):
    """A plain vision transformer for images of any size, tapped behind each quarter of its blocks.

    Images are mirrored at the right and lower edge up to whole patches.

    Args:
        net: Feature extractor of timm.

    Attributes:
        width: Channels of the tokens.
        patch: Input pixels per token.
        has_class_token: Whether there is a token that stands for the whole image.
        global_context: True: each token sees the whole image.
    """

    global_context = True

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        info: Any = net.feature_info
        model: Any = net.model
        self.width: int = info.channels()[-1]
        self.patch: int = info.reduction()[-1]
        self.has_class_token = getattr(model, "cls_token", None) is not None
        blocks = len(model.blocks)
        self.taps = tuple((tap + 1) * blocks // _TAPS - 1 for tap in range(_TAPS))
        model.norm = nn.Identity()  # behind the last block, for the classifier

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """Return the tokens (N, width, H/patch, W/patch) and the class token (N, width) of each tap."""
        model: Any = self.net.model
        more = {"return_prefix_tokens": True} if self.has_class_token else {}
        tapped = model.forward_intermediates(
            pad_to_multiple(images, self.patch), indices=list(self.taps), intermediates_only=True, **more
        )
        return [(tokens[0], tokens[1][:, 0]) if self.has_class_token else (tokens, None) for tokens in tapped]


def build_token_encoder(
    name: str, *, in_channels: int, pretrained: bool = False, weights: str | None = None
) -> TokenEncoder:
    """Build a plain vision transformer of timm; arguments as for :func:`satseg.backend.nn.encoders.build_encoder`.

    Raises:
        ArchitectureError: timm has no such encoder, it is none of these transformers, or its weights cannot be had.
    """
    name, weights = by_name(name, weights)
    found = None if name in DEPTHS else suitable(name)
    if found is not None and found.single_map:
        net: Any = create_backbone(name, in_channels, pretrained, weights, {"features_only": True, **found.options})
        if isinstance(getattr(net.model, "blocks", None), nn.Sequential | nn.ModuleList):
            return TokenEncoder(net)
    raise ArchitectureError(
        f"The encoder {name} is no plain vision transformer, whose blocks all have one resolution.",
        hint="Choose one such as vit_small_patch16_dinov3, or another decoder, such as upernet.",
    )
