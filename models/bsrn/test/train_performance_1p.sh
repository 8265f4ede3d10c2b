#!/usr/bin/env bash
# Measure the training speed of this folder's model in a few hundred steps on one device; --help lists the flags.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/start.sh" "${BASH_SOURCE[0]}" "$@"
