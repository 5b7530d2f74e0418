"""Pages that show archives and results."""
