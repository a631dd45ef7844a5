"""What users draw, in the terms of the steps: models, tracks, slabs."""
