"""Types of the events that peer-observer publishes."""
