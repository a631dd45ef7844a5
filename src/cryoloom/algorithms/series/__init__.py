"""Images of a tilt series: geometry, quality, dose and matching."""
