"""Figures, images and judgements that the report and the web application show."""
