"""The ways in over the network, and the ways to look: HTTP and gRPC, on this machine unless a token is set."""
