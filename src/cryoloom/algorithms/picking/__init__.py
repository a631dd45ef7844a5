"""Finding particles: on fitted surfaces, by a template, by size alone; arrays in, arrays out."""
