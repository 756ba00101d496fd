"""Models: mixers in backbones, a trunk around them, codecs, and the matching of their sizes."""
