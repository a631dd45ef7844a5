"""RELION 5: averaging of subtomograms."""
