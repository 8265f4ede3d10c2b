"""What networks are built from and trained with: layers, losses and the Keras in use."""
