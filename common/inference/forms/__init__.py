"""A network as it is run: the trained Keras model with the same result from less work.

`form` makes it; `reading` takes a Keras model apart into the nodes of `graph`, `rewrites` replaces
groups of them, with the kernels of `kernels`; `operations` are what nodes compute.
"""
