"""MovingMNIST++ and Table 1 of Shi et al. 2017."""
