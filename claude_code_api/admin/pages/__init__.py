"""The web interface: pages over the actions, made on the server."""
