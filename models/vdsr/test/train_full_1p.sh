#!/usr/bin/env bash
# Train this folder's model in full on one device; --help lists the flags.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/start.sh" "${BASH_SOURCE[0]}" "$@"
