"""Devices: which chip a run uses, and with which other processes it shares the work.

The only package that knows a chip. `open` opens a device, `device` is what then is open, `chip`
what the code that runs on it has to heed, `exchange` how replicas and processes share values;
`session` configures graph sessions. Of the rest of `common` it uses `cli`, `files` and
`nn.keras_compat` alone.
"""
