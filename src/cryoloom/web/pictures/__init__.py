"""Images for the browser: 8-bit levels, slices, planes of any direction."""
