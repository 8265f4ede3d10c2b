#!/usr/bin/env bash
# Train this folder's model on eight NPUs (RANK_SIZE changes the number) or on all GPUs, by default the demo.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/start.sh" "${BASH_SOURCE[0]}" "$@"
