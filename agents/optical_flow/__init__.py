"""Optical flow between radar frames, and advection along it."""
