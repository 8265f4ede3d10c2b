#!/usr/bin/env bash
# A program that this model's published description names; docs/commands.md says what it runs here.
exec bash "$(dirname "${BASH_SOURCE[0]}")/../../../scripts/start.sh" "${BASH_SOURCE[0]}" "$@"
