"""Hot loops over rows of images: continued, filtered, turned, and their moments."""
