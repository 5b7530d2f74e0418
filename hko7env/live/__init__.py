"""A radar archive that is still growing, walked frame by frame as the frames come."""
