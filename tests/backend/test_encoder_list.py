from __future__ import annotations

import pytest

from satseg.backend.encoder_list import MOST_EXAMINED, list_encoders
from satseg.errors import ArchitectureError


def test_words_are_parts_of_names_families_or_tags() -> None:
    assert [entry.name for entry in list_encoders(["resnet18d"])] == ["resnet18d"]
    assert [entry.name for entry in list_encoders(["byobnet", "test"])] == ["test_byobnet"]
    assert [entry.name for entry in list_encoders(["sat493m", "large_patch16_dinov3_qkvb"])] == [
        "vit_large_patch16_dinov3_qkvb"
    ]


def test_a_few_are_listed_with_what_they_can_do() -> None:
    (entry,) = list_encoders(["convnextv2_atto"])
    assert (entry.examined, entry.parameters, entry.strides) == (True, 3_386_760, (4, 8, 16, 32))
    assert (entry.weights, entry.multiple, entry.reason) == ("hub", 32, None)
    assert "fcmae" in entry.tags


def test_plain_transformers_are_listed_with_the_strides_of_their_pyramid() -> None:
    (entry,) = list_encoders(["vit_small_patch16_dinov3_qkvb"])
    assert (entry.strides, entry.multiple) == ((4, 8, 16, 32), 16)


def test_those_that_cannot_serve_have_the_reason() -> None:
    (entry,) = list_encoders(["coatnet_0_224"])
    assert entry.reason == "it takes images of 224 x 224 px alone"
    assert entry.multiple is None


def test_encoders_of_this_package_are_listed() -> None:
    found = list_encoders(["mit_b0"])
    assert [(entry.name, entry.parameters, entry.weights) for entry in found] == [("mit_b0", 3_319_392, None)]


def test_many_are_listed_by_name_alone() -> None:
    found = list_encoders()
    assert len(found) > 1000 > MOST_EXAMINED
    assert not any(entry.examined for entry in found)
    assert [entry.name for entry in found] == sorted(entry.name for entry in found)


def test_nothing_that_fits_is_said() -> None:
    with pytest.raises(ArchitectureError, match="No encoder has 'resnet5O' in its name"):
        list_encoders(["resnet5O"])
