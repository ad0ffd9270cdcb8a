from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from satseg.backend import create_model
from satseg.backend.models.cpn import ContextPrior
from satseg.backend.nn.affinity import affinity_loss
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy


def network(crop: int) -> nn.Module:
    torch.manual_seed(0)
    return create_model("cpn", in_channels=3, num_classes=2, encoder="resnet18", crop=crop)


def test_means_are_those_of_pixels_alike_and_of_the_others() -> None:
    torch.manual_seed(3)
    context = ContextPrior(4).eval().requires_grad_(False)
    features = torch.randn(2, 512, 4, 4)
    found, logits = context(features)
    prior = context.prior(features).sigmoid()  # channel j of a pixel says whether pixel j is like it
    pixels = features.flatten(2)
    for name, share in (("intra", prior), ("inter", 1 - prior)):
        mean = torch.einsum("njhw,ncj->nchw", share, pixels) / 16
        expected = getattr(context, name)(mean)
        got = found[:, :512] if name == "intra" else found[:, 512:]
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits[:, 0, 5].sigmoid(), prior[:, :, 1, 1])


@pytest.mark.parametrize(("crop", "cells"), [(512, 64), (256, 32), (250, 32), (64, 8)])
def test_the_prior_has_a_channel_for_each_cell_of_the_crop(crop: int, cells: int) -> None:
    with torch.device("meta"):
        model = network(crop)
        _, outputs = model.forward_with_aux(torch.empty(1, 3, 64, 64))
    assert outputs["prior"].shape == (1, 1, cells**2, cells**2)
    assert model.window == crop


def labels_of(*size: int) -> Tensor:
    labels = torch.zeros(size, dtype=torch.int64)
    labels[:, :, size[2] // 3 :] = 1
    labels[:, -10:] = 255
    return labels


def test_its_loss_is_that_of_the_side_output_and_of_the_prior_at_the_first_pixels_of_cells() -> None:
    model = network(64)
    labels = labels_of(2, 64, 64)
    _, outputs = model.forward_with_aux(torch.randn(2, 3, 64, 64))
    expected = auxiliary_cross_entropy({"side": outputs["side"]}, labels, weight=0.4)
    expected = expected + affinity_loss(outputs["prior"][:, 0], labels[:, ::8, ::8].flatten(1))
    torch.testing.assert_close(model.aux_loss(outputs, labels), expected)


def test_smaller_and_larger_images_have_losses_where_they_have_labels() -> None:
    model = network(64)
    for size in ((40, 50), (64, 100)):
        labels = labels_of(1, *size)
        logits, outputs = model.forward_with_aux(torch.randn(1, 3, *size))
        assert logits.shape == (1, 2, *size)
        whole = torch.full((len(outputs["prior"]), 64, 64), 255)
        whole[0, : size[0], : size[1]] = labels[0, :64, :64]
        if size[1] > 64:
            whole[1] = labels[0, :, -64:]
        expected = auxiliary_cross_entropy({"side": outputs["side"]}, labels, weight=0.4)
        expected = expected + affinity_loss(outputs["prior"][:, 0], whole[:, ::8, ::8].flatten(1))
        torch.testing.assert_close(model.aux_loss(outputs, labels), expected)


def test_every_pixel_sees_all_of_the_crop() -> None:
    prior = ContextPrior(4).eval()
    features = torch.randn(1, 512, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(prior(features)[0][0, :, 0, 0].sum(), features)
    assert gradient.any(dim=1).all()
