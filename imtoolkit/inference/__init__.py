"""From net to whole image: tiles, blending, mirrored copies."""
