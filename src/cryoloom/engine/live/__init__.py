"""Sessions that are being acquired: folders watched, series closed."""
