"""A tomogram with its picks and particles for other programs: scripts, commands, and Neuroglancer."""
