"""Resumable evaluation: run folders, their journals of tallies, and the tables derived from them."""
