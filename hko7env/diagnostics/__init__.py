"""Diagnostics of forecasts that tallies cannot give: neighbourhoods, pooled events, power spectra, joint histograms."""
