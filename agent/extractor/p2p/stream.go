package p2p

import (
	"errors"
	"net"
	"time"
)

const (
	// minBuffer is the first size of a stream's buffer in bytes, maxKeptBuffer the
	// largest that it keeps once everything in it is used.
	minBuffer     = 4 << 10
	maxKeptBuffer = 256 << 10
	// writeTimeout bounds one write. The messages written are so small that they
	// fit into the socket's buffer; only an end that has read nothing for long
	// makes a write wait.
	writeTimeout = 30 * time.Second
)

// errAllowance is returned when the other end sent more than it may.
var errAllowance = errors.New("too many bytes before the handshake was complete")

// stream buffers what a connection brings. Its buffer grows only when it's full of
// bytes that have arrived, so that a length that somebody merely claims costs
// nothing. A read that timed out has lost nothing and can be tried again.
type stream struct {
	conn net.Conn
	// buf[r:w] has arrived and isn't used yet.
	buf  []byte
	r, w int
	// readAt is when the last read returned, with the monotonic clock.
	readAt time.Time
	// allowance is how many more bytes may be read; negative for no bound.
	allowance int
}

func newStream(conn net.Conn, allowance int) *stream {
	return &stream{conn: conn, allowance: allowance}
}

// peek waits until n bytes have arrived and returns all that have. They stay until
// discard and are valid until the next peek.
func (s *stream) peek(n int) ([]byte, error) {
	for s.w-s.r < n {
		if err := s.read(); err != nil {
			return nil, err
		}
	}
	return s.buf[s.r:s.w], nil
}

// discard drops the first n bytes of what peek returned.
func (s *stream) discard(n int) { s.r += n }

// read reads once.
func (s *stream) read() error {
	s.makeRoom()
	room := s.buf[s.w:]
	if s.allowance >= 0 && len(room) > s.allowance {
		room = room[:s.allowance]
	}
	if len(room) == 0 {
		return errAllowance
	}
	n, err := s.conn.Read(room)
	if n > 0 {
		s.readAt = time.Now()
		s.w += n
		if s.allowance >= 0 {
			s.allowance -= n
		}
		// The error, if any, comes again.
		return nil
	}
	return err
}

// makeRoom makes sure that something can be read.
func (s *stream) makeRoom() {
	if s.r == s.w {
		s.r, s.w = 0, 0
		if s.buf == nil || len(s.buf) > maxKeptBuffer {
			s.buf = make([]byte, minBuffer)
		}
	}
	if s.w < len(s.buf) {
		return
	}
	if s.r >= len(s.buf)/2 {
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
		return
	}
	larger := make([]byte, 2*len(s.buf))
	s.w = copy(larger, s.buf[s.r:s.w])
	s.r = 0
	s.buf = larger
}

// write writes b at once (Go sets TCP_NODELAY) and with a bounded wait.
func (s *stream) write(b []byte) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := s.conn.Write(b)
	return err
}
