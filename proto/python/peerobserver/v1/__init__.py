"""Version 1 of the events, one module for each .proto file; start at event_pb2.Event."""
