"""Every value that crosses the wire, defined once with its codec, for both services and the Python client."""
