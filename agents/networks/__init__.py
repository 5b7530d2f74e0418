"""The networks of Shi et al. 2017: tables, recurrent cells, the networks built from them, and plots of links."""
