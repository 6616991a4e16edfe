"""Every value that crosses the wire, once, with its codec: used by both services and by the Python client."""
