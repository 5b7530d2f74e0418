"""Calibration of forecasts: their features, counts of how often they came true, and the prior made of counts."""
