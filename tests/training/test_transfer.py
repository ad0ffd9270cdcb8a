from __future__ import annotations

import pytest
import torch

from satseg import create_model
from satseg.errors import CheckpointError
from satseg.training.transfer import transfer


def test_what_fits_is_taken_and_the_rest_is_listed() -> None:
    source = create_model("erfnet", in_channels=3, num_classes=5).state_dict()
    model = create_model("erfnet", in_channels=4, num_classes=5)
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = transfer(model, {**source, "extra": torch.zeros(1)})
    own = model.state_dict()
    assert set(found.loaded) | {text.split()[0] for text in found.reshaped} == set(own)
    weight, bias = "encoder.0.conv.weight", "encoder.0.conv.bias"  # their number depends on that of the bands
    assert found.reshaped == (f"{weight} (13, 3, 3, 3) for (12, 4, 3, 3)", f"{bias} (13,) for (12,)")
    assert (found.missing, found.unused) == ((), ("extra",))
    assert all(torch.equal(own[name], fresh[name]) for name in (weight, bias))
    assert all(torch.equal(own[name], source[name]) for name in found.loaded)
    assert str(found).startswith(
        f"{len(own) - 2} of {len(own)} tensors loaded; different shape: {weight} (13, 3, 3, 3)"
    )


def test_a_network_of_another_kind_is_refused() -> None:
    source = create_model("enet", in_channels=3, num_classes=5).state_dict()
    with pytest.raises(CheckpointError, match=r"Only .* tensors match this network"):
        transfer(create_model("erfnet", in_channels=3, num_classes=5), source)


def test_quantised_weights_are_not_taken_for_others() -> None:
    model = create_model("erfnet", in_channels=3, num_classes=2)
    with pytest.raises(CheckpointError, match="tensors match this network by name and shape"):
        transfer(model, {name: tensor.to(torch.int8) for name, tensor in model.state_dict().items()})
