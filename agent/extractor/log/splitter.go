package log

import "bytes"

// splitter makes lines of bytes as they come.
type splitter struct {
	// limit is the longest line in bytes; what is beyond it is cut off.
	limit int
	// line takes a line without its newline, valid during the call, and how many of
	// its bytes were cut off.
	line func(line []byte, cut uint64)

	partial []byte
	cut     uint64
}

// feed takes the next bytes.
func (s *splitter) feed(chunk []byte) {
	for {
		i := bytes.IndexByte(chunk, '\n')
		if i < 0 {
			s.keep(chunk)
			return
		}
		if len(s.partial) == 0 && s.cut == 0 && i <= s.limit {
			s.line(withoutReturn(chunk[:i]), 0)
		} else {
			s.keep(chunk[:i])
			s.end()
		}
		chunk = chunk[i+1:]
	}
}

func (s *splitter) keep(part []byte) {
	n := min(len(part), s.limit-len(s.partial))
	s.partial = append(s.partial, part[:n]...)
	s.cut += uint64(len(part) - n)
}

// finish hands out the line begun, if there is one.
func (s *splitter) finish() {
	if len(s.partial) > 0 {
		s.end()
	}
}

func (s *splitter) end() {
	s.line(withoutReturn(s.partial), s.cut)
	s.partial, s.cut = s.partial[:0], 0
}

func withoutReturn(line []byte) []byte { return bytes.TrimSuffix(line, []byte("\r")) }
