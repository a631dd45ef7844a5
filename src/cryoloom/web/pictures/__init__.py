"""Images as the browser gets them: 8-bit levels, slices, planes of any direction."""
