"""Speed of the zoo beside other engines, measured in one run.

`command` reads the flags and prints the rows. A module per kind of measurement (`inference`,
`forms`, `training`, `gan`, `pipeline`, `loop`) has `MEASUREMENTS`: {name: function of (name,
arguments) to rows}. `measuring` takes turns and makes rows; `engines` and `networks` are the peers.
"""
