"""Attack the zoo as accidents and strangers do, and count what it does wrong.

`fuzz` feeds damaged files of every kind through the real readers, which `inputs` names with a good
file of each. `kills` kills short trainings, and `folders` damages what they wrote; `trainings`
starts them and says what may not differ.
"""
