"""Files of pixels: MRC, TIFF, EER, DM4 and OME-Zarr."""
