"""The line before the first step."""

import pytest

from trainer_module.backbones.summary import BackboneSummary
from trainer_module.settings import TrainSettings
from trainer_module.training.outlook import outlook

NETWORK = BackboneSummary("backbone", parameters=43_628_480, statistics=1, macs=6_330_000_000, embedding_dim=512)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (5_822_653, "5,822,653 images of 85,742 identities: 227,000 steps of 512, 20.0 epochs, about "),
        (None, "on 85,742 identities: 227,000 steps of 512, about "),
    ],
)
def test_what_ms1m_takes(images, expected):
    settings = TrainSettings(backbone="iresnet50", batch_size=512, steps=227_000)
    line = outlook(settings, NETWORK, 85_742, images)
    assert "iresnet50, 43.6 M parameters, 6,330 M multiply-accumulates an image" in line
    assert expected in line


def test_small_parts_are_no_zeros():
    settings = TrainSettings(backbone="iresnet_tiny", batch_size=64, steps=900)
    assert "about 111 MB without a GPU, 5 MB of them a copy for checkpoints" in outlook(settings, NETWORK, 500, 8000)


def test_several_workers_are_said_with_their_parts():
    settings = TrainSettings(backbone="iresnet_tiny", batch_size=64, steps=900, workers=2)
    line = outlook(settings, NETWORK, 500, 8000)
    assert "900 steps of 64, 32 by each of 2 workers, 7.2 epochs, about " in line
    assert " MB in each, without a GPU, " in line
