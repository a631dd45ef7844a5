"""Particles in the files of other programs: one module a format, all known to `particle_formats`."""
