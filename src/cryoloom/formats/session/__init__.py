"""What a microscope leaves: mdoc, movie folders, gain and defects."""
