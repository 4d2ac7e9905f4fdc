"""The dashboard: pages made on the server, kept live by what changes."""
