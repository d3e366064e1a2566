"""One request over TLS: from the socket up, a file a layer."""
