"""Figures, images and judgements that report and web application show."""
