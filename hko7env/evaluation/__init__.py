"""Resumable evaluation runs and the tables made of them."""
