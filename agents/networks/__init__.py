"""The networks of the paper: its tables, recurrent cells, and what is built from them."""
