"""Files of a microscope session: mdoc, movie folders, gain and defects."""
