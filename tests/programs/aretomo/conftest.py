"""AreTomo needs a GPU; its stand-ins do not."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def images_on_the_processor(monkeypatch):
    """The stand-in needs no GPU, and neither does the search for the specimen behind it."""
    from cryoloom.procedures import foreign_poses

    load = foreign_poses.load_tilt_images
    monkeypatch.setattr(foreign_poses, "load_tilt_images", lambda *given, device: load(*given, device="cpu"))
