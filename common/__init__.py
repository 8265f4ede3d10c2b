"""What every model of the zoo shares; it knows no model by name."""
