"""The operations that an Ascend NPU cannot run, found in any model of the zoo."""
