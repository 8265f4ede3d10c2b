"""Layers, losses and the interface to the Keras in use."""
