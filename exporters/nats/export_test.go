package nats

import "github.com/nats-io/nats-server/v2/server"

// Raw is the server inside, for comparisons.
func (s *Server) Raw() *server.Server { return s.server }
