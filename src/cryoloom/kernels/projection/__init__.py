"""Hot loops of projection and back-projection."""
