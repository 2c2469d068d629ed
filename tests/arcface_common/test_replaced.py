"""What was replaced for a while is there again, however the while ends."""

import os
import types

import pytest

from arcface_common.replaced import kept_environment, replaced


def test_an_attribute_comes_back():
    owner = types.SimpleNamespace(name=1)
    with pytest.raises(KeyError), replaced(owner, "name", 2):
        assert owner.name == 2
        raise KeyError
    assert owner.name == 1


def test_the_environment_comes_back(monkeypatch):
    monkeypatch.setenv("KEPT", "1")
    before = dict(os.environ)
    with pytest.raises(KeyError), kept_environment({"ADDED": "2"}):
        assert os.environ["ADDED"] == "2"
        del os.environ["KEPT"]
        raise KeyError
    assert dict(os.environ) == before
