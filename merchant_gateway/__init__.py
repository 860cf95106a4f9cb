"""The merchants side: the gRPC gateway, and the client library that merchant systems import."""
