"""What is to be known of a GPU: do its results agree with the CPU's, how fast is everything, in ten minutes.

``runner`` runs the list of ``items`` in the order of their worth, in a process that may fail; ``checks`` compares
devices, ``speed`` measures times, ``table`` writes the results down.
"""
