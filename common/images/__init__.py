"""Image files: read, written, and what is kept of them beside their pixels."""
