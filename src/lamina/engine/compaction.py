"""Giving space back: segments that are mostly dead are rewritten, then deleted when nobody reads them any more."""
