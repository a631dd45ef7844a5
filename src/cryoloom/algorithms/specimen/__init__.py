"""Where the specimen lies in a series: its slab, its plane, and surfaces through points."""
