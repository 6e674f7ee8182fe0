"""Measurements of models and samples, one name per quantity across all families."""
