"""Optical flow between radar frames."""
