"""Agents in operation: forecasts of a growing archive as files, and their scores as the truth comes."""
