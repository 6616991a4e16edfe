"""A record of every request: made when the call ends, stored off the request path, read by UsageService."""
