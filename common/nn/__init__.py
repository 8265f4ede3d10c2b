"""Layers and the interface to the Keras in use."""
