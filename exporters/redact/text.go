package redact

import (
	"bytes"
	"net/netip"
	"strings"
)

const (
	// maxWord bounds a word in bytes in which addresses are looked for; names of hosts
	// have at most 253.
	maxWord = 512
	// maxPlaces bounds the places in a word at which an IPv6 address may begin.
	maxPlaces = 32
	// maxIPv6 bounds the text of an IPv6 address with a zone.
	maxIPv6 = 64
)

// unreadable takes the place of what looks like an address and can't be read as one.
const unreadable = "redacted"

// AppendText appends text with pseudonyms for every IPv4, IPv6, onion and I2P address in
// it, and for host names with a port.
func (r *Redactor) AppendText(dst, text []byte) []byte {
	if bytes.IndexByte(text, '.') < 0 && bytes.IndexByte(text, ':') < 0 {
		return append(dst, text...)
	}
	for len(text) > 0 {
		n := 0
		for n < len(text) && inWord(text[n]) {
			n++
		}
		if n == 0 {
			dst = append(dst, text[0])
			text = text[1:]
			continue
		}
		dst = r.appendWord(dst, string(text[:n]))
		text = text[n:]
	}
	return dst
}

// AppendAddress appends a field that is nothing but an address, with or without a port.
// A name that isn't an address gets a pseudonym too: somebody gave it to the node.
func (r *Redactor) AppendAddress(dst, address []byte) []byte {
	text := string(address)
	redacted := r.AppendText(nil, address)
	host, port := text, ""
	if i := strings.LastIndexByte(text, ':'); i >= 0 && digits(text[i+1:]) {
		host, port = text[:i], text[i:]
	}
	if host == "" || string(redacted) != text || unspecified(host) {
		return append(dst, redacted...)
	}
	return append(append(dst, r.name(host)...), port...)
}

func unspecified(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsUnspecified()
}

// inWord is whether a byte can be part of an address or a name. Brackets aren't, so
// that the address in [address]:port is a word.
func inWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == ':' || c == '-' || c == '%'
}

// appendWord appends one word.
func (r *Redactor) appendWord(dst []byte, word string) []byte {
	switch {
	case !strings.ContainsAny(word, ".:"):
		return append(dst, word...)
	case len(word) > maxWord:
		return append(dst, unreadable...)
	}
	if strings.Count(word, ":") >= 2 {
		if out, ok := r.ipv6In(dst, word); ok {
			return out
		}
	}
	// What is left is names and IPv4 addresses with or without a port.
	for i, part := range strings.Split(word, ":") {
		if i > 0 {
			dst = append(dst, ':')
		}
		rest := word[min(len(word), partEnd(word, i)):]
		dst = r.appendName(dst, part, portFollows(rest))
	}
	return dst
}

// partEnd is where the i-th part between colons ends.
func partEnd(word string, i int) int {
	at := 0
	for ; i >= 0; i-- {
		next := strings.IndexByte(word[at:], ':')
		if next < 0 {
			return len(word)
		}
		at += next + 1
	}
	return at - 1
}

// portFollows is whether a colon and digits follow.
func portFollows(rest string) bool {
	if len(rest) < 2 || rest[0] != ':' {
		return false
	}
	port, _, _ := strings.Cut(rest[1:], ":")
	return digits(strings.TrimRight(port, ".-"))
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 5
}

// ipv6In appends a word with the pseudonym of the longest IPv6 address in it; ok is false
// when there is none.
func (r *Redactor) ipv6In(dst []byte, word string) (out []byte, ok bool) {
	starts, ends := []int{0}, []int{len(word)}
	for i := range len(word) {
		if word[i] == ':' || word[i] == '.' || word[i] == '-' {
			starts, ends = append(starts, i+1), append(ends, i)
		}
		// An address may begin or end with the two colons.
		if strings.HasPrefix(word[i:], "::") {
			starts, ends = append(starts, i), append(ends, i+2)
		}
		if len(starts) > maxPlaces {
			return append(dst, unreadable...), true
		}
	}
	from, to := 0, 0
	var found netip.Addr
	for _, start := range starts {
		for _, end := range ends {
			if end-start <= to-from || end-start > maxIPv6 || strings.Count(word[start:end], ":") < 2 {
				continue
			}
			if ip, err := netip.ParseAddr(word[start:end]); err == nil {
				from, to, found = start, end, ip
			}
		}
	}
	switch {
	case !found.IsValid():
		if onlyHex(word) && (strings.Contains(word, "::") || strings.Count(word, ":") >= 7) {
			return append(dst, unreadable...), true
		}
		return dst, false
	case found.IsUnspecified():
		return dst, false
	}
	dst = r.appendWord(dst, word[:from])
	dst = r.ip(found).AppendTo(dst)
	return r.appendWord(dst, word[to:]), true
}

func onlyHex(word string) bool {
	return strings.Trim(word, "0123456789abcdefABCDEF:.%") == ""
}

// appendName appends a part without colons.
func (r *Redactor) appendName(dst []byte, part string, port bool) []byte {
	if !strings.Contains(part, ".") {
		return append(dst, part...)
	}
	lower := strings.ToLower(part)
	for _, suffix := range []string{onionSuffix, i2pSuffix} {
		if i := strings.Index(lower, suffix); i >= 0 {
			// The name is the letters before it.
			start := i
			for start > 0 && lower[start-1] != '.' && lower[start-1] != '-' && lower[start-1] != '%' {
				start--
			}
			end := i + len(suffix)
			name, ok := r.hidden(part[start:end])
			if !ok {
				name = r.name(part[start:end])
			}
			dst = r.appendName(dst, part[:start], false)
			dst = append(dst, name...)
			return r.appendName(dst, part[end:], false)
		}
	}
	if from, to, ip := ipv4In(part); ip.IsValid() {
		dst = append(dst, part[:from]...)
		dst = r.ip(ip).AppendTo(dst)
		return r.appendName(dst, part[to:], false)
	}
	if port && isHostName(lower) {
		return append(dst, r.name(part)...)
	}
	return append(dst, part...)
}

// ipv4In finds the first IPv4 address in dotted decimal form, wherever it begins and ends.
func ipv4In(text string) (from, to int, ip netip.Addr) {
	for from = range len(text) {
		if text[from] < '0' || text[from] > '9' {
			continue
		}
		var b [4]byte
		at := from
		for i := range b {
			value, n := 0, 0
			for at+n < len(text) && n < 3 && text[at+n] >= '0' && text[at+n] <= '9' && 10*value+int(text[at+n]-'0') <= 255 {
				value = 10*value + int(text[at+n]-'0')
				n++
			}
			if n == 0 {
				break
			}
			b[i] = byte(value)
			at += n
			if i == 3 {
				return from, at, netip.AddrFrom4(b)
			}
			if at >= len(text) || text[at] != '.' {
				break
			}
			at++
		}
	}
	return 0, 0, netip.Addr{}
}

// isHostName is whether a part with a port behind it is a host, and not the place in a
// source file.
func isHostName(lower string) bool {
	i := strings.LastIndexByte(lower, '.')
	last := lower[i+1:]
	if len(last) < 2 || last == "cpp" || last == "py" || last == "go" {
		return false
	}
	return strings.Trim(last, "abcdefghijklmnopqrstuvwxyz") == ""
}
