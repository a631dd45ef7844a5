"""Single images: Fourier transforms, filters, resampling."""
