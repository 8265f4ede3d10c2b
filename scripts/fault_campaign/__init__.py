"""Attack the zoo as accidents and strangers do, and count what it does wrong.

`fuzz` feeds damaged files of every kind through the real readers, which `inputs` names with a good
file of each.
"""
