"""Report operations that an Ascend NPU cannot run, in any model of the zoo.

`command` reads the flags and prints. `check` runs a model's training step and its upscaling, which
`subjects` builds small, and looks through what was traced: `graphs` the operations, `layers` the
Keras layers, against the operators that `support` lists.
"""
