"""The conventions of Ascend ModelZoo: its flags, logs, ranks and buckets."""
