package log

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// A pattern is a message of Bitcoin Core's with its variable parts in braces, such as
//
//	Header error: Wrong checksum ({type}, {bytes} bytes), expected {hex} was {hex}, peer={peer}
//
// It must match the message from its first to its last byte, and every part must have
// the form that the node writes: text that a peer chose can fill the part that it is
// meant for and no other. Matching takes one pass, but for {type}, which tries at most
// twelve ends.
//
// The parts and the fields they fill:
//
//	{peer}                      peer_id
//	{addr} {addr2}              address, other_address: up to a space, a comma or the text that follows
//	{hash} {hash2}              block_hash, other_hash: 64 hex digits
//	{txid} {wtxid}              the same of a transaction
//	{height} {count} {bytes}    integers; also {processed} {limited} {prefilled} {mempool} {extra} {proto} {as}
//	{s} {fs} {ms} {min}         duration_us, from whole seconds, seconds, milliseconds, whole minutes
//	{kb} {mib}                  bytes, from whole kB of 1,000 and from MiB
//	{progress}                  progress
//	{date}                      header_time, from an ISO 8601 date
//	{type}                      message_type: at most 12 bytes of anything
//	{conn} {transport}          connection_type, transport: a word
//	{word}                      reason: a word
//	{text}                      reason: up to the text that follows, or to the end
//	{hexreason}                 reason: hex digits
//	{-} {int} {float} {hex}     nothing: text up to what follows, or a number
//	{_}                         nothing: one or more spaces
//	{logpeer}                   peer=N, and peeraddr=ADDRESS if the node logs addresses
//	{?…}                        nothing: text that may be missing
type pattern struct {
	tokens []token
}

// token is one part of a pattern.
type token struct {
	kind    kind
	literal string // of kindLiteral and kindOptional
}

type kind int

const (
	kindLiteral kind = iota
	kindOptional
	kindSpaces
	kindPeer
	kindLogPeer
	kindAddr
	kindAddr2
	kindHash
	kindHash2
	kindTxid
	kindWtxid
	kindHeight
	kindCount
	kindBytes
	kindProcessed
	kindLimited
	kindPrefilled
	kindMempool
	kindExtra
	kindProtocol
	kindAS
	kindSeconds
	kindFloatSeconds
	kindMilliseconds
	kindMinutes
	kindKB
	kindMiB
	kindProgress
	kindDate
	kindType
	kindConnection
	kindTransport
	kindWord
	kindText
	kindHexReason
	kindSkip
	kindInt
	kindFloat
	kindHex
)

// kinds gives the kind of a part by its name.
func kinds() map[string]kind {
	return map[string]kind{
		"_": kindSpaces, "peer": kindPeer, "logpeer": kindLogPeer, "addr": kindAddr, "addr2": kindAddr2,
		"hash": kindHash, "hash2": kindHash2, "txid": kindTxid, "wtxid": kindWtxid, "height": kindHeight,
		"count": kindCount, "bytes": kindBytes, "processed": kindProcessed, "limited": kindLimited,
		"prefilled": kindPrefilled, "mempool": kindMempool, "extra": kindExtra, "proto": kindProtocol,
		"as": kindAS, "s": kindSeconds, "fs": kindFloatSeconds, "ms": kindMilliseconds, "min": kindMinutes,
		"kb": kindKB, "mib": kindMiB, "progress": kindProgress, "date": kindDate, "type": kindType,
		"conn": kindConnection, "transport": kindTransport, "word": kindWord, "text": kindText,
		"hexreason": kindHexReason, "-": kindSkip, "int": kindInt, "float": kindFloat, "hex": kindHex,
	}
}

// Bounds of what parts hold.
const (
	maxMessageType = 12
	maxAddress     = 256
	maxWord        = 64
	maxNumber      = 32
	hashDigits     = 64
)

// compile reads a pattern.
func compile(text string) (pattern, error) {
	var p pattern
	named := kinds()
	for text != "" {
		start := strings.IndexByte(text, '{')
		if start < 0 {
			p.tokens = append(p.tokens, token{literal: text})
			break
		}
		if start > 0 {
			p.tokens = append(p.tokens, token{literal: text[:start]})
		}
		end := strings.IndexByte(text[start:], '}')
		if end < 0 {
			return pattern{}, fmt.Errorf("pattern %q: brace not closed", text)
		}
		name := text[start+1 : start+end]
		text = text[start+end+1:]
		if optional, ok := strings.CutPrefix(name, "?"); ok {
			p.tokens = append(p.tokens, token{kind: kindOptional, literal: optional})
			continue
		}
		k, ok := named[name]
		if !ok {
			return pattern{}, fmt.Errorf("pattern: no part {%s}", name)
		}
		p.tokens = append(p.tokens, token{kind: k})
	}
	return p, nil
}

// prefix is the text that every match begins with.
func (p pattern) prefix() string {
	if len(p.tokens) > 0 && p.tokens[0].kind == kindLiteral {
		return p.tokens[0].literal
	}
	return ""
}

// match fills m from a message; m is of no use when it doesn't match.
func (p pattern) match(message string, m *eventpb.KnownLogMessage) bool {
	return matchTokens(p.tokens, message, m)
}

func matchTokens(tokens []token, rest string, m *eventpb.KnownLogMessage) bool {
	for i, t := range tokens {
		following := ""
		if i+1 < len(tokens) && tokens[i+1].kind == kindLiteral {
			following = tokens[i+1].literal
		}
		if t.kind == kindType {
			return matchType(tokens[i+1:], rest, m)
		}
		var ok bool
		if rest, ok = t.take(rest, following, m); !ok {
			return false
		}
	}
	return rest == ""
}

// matchType tries a message type from the longest to the shortest: a peer may have put
// into it what follows in the pattern.
func matchType(tokens []token, rest string, m *eventpb.KnownLogMessage) bool {
	for n := min(maxMessageType, len(rest)); n >= 0; n-- {
		if matchTokens(tokens, rest[n:], m) {
			m.MessageType = new(rest[:n])
			return true
		}
	}
	return false
}

// take matches one part at the beginning of s and gives what is left.
func (t token) take(s, following string, m *eventpb.KnownLogMessage) (rest string, ok bool) {
	switch t.kind {
	case kindLiteral:
		return strings.CutPrefix(s, t.literal)
	case kindOptional:
		return strings.TrimPrefix(s, t.literal), true
	case kindSpaces:
		rest = strings.TrimLeft(s, " ")
		return rest, len(rest) < len(s)
	case kindPeer:
		return takePeer(s, m)
	case kindLogPeer:
		return takeLogPeer(s, following, m)
	case kindAddr:
		return takeText(s, addressLength(s, following), &m.Address)
	case kindAddr2:
		return takeText(s, addressLength(s, following), &m.OtherAddress)
	case kindHash:
		return takeHash(s, &m.BlockHash)
	case kindHash2:
		return takeHash(s, &m.OtherHash)
	case kindTxid:
		return takeHash(s, &m.Txid)
	case kindWtxid:
		return takeHash(s, &m.Wtxid)
	case kindConnection:
		return takeText(s, wordLength(s), &m.ConnectionType)
	case kindTransport:
		return takeText(s, wordLength(s), &m.Transport)
	case kindWord:
		return takeText(s, wordLength(s), &m.Reason)
	case kindHexReason:
		return takeText(s, hexLength(s), &m.Reason)
	case kindHex:
		return takeText(s, hexLength(s), nil)
	case kindText, kindSkip:
		n := len(s)
		if following != "" {
			if n = strings.Index(s, following); n < 0 {
				return s, false
			}
		}
		if t.kind == kindSkip {
			return s[n:], true
		}
		m.Reason = new(s[:n])
		return s[n:], true
	case kindDate:
		n := timestampLength(s[:min(len(s), shortTimestamp)])
		if n == 0 {
			return s, false
		}
		m.HeaderTime = new(int64(parseTimestamp(s[:n]) / 1e6))
		return s[n:], true
	default:
		return t.takeNumber(s, m)
	}
}

// takeNumber matches a number.
func (t token) takeNumber(s string, m *eventpb.KnownLogMessage) (rest string, ok bool) {
	switch t.kind {
	case kindFloat:
		_, rest, ok = takeFloat(s)
		return rest, ok
	case kindProgress:
		var f float64
		if f, rest, ok = takeFloat(s); ok {
			m.Progress = new(f)
		}
		return rest, ok
	case kindFloatSeconds, kindMilliseconds, kindMiB:
		var f float64
		if f, rest, ok = takeFloat(s); !ok {
			return s, false
		}
		switch t.kind {
		case kindFloatSeconds:
			return rest, setScaled(&m.DurationUs, f, 1e6)
		case kindMilliseconds:
			return rest, setScaled(&m.DurationUs, f, 1e3)
		default:
			return rest, setScaled(&m.Bytes, f, 1<<20)
		}
	}
	n, rest, ok := takeInt(s)
	if !ok {
		return s, false
	}
	switch t.kind {
	case kindHeight:
		return rest, set32(&m.Height, n)
	case kindProtocol:
		return rest, set32(&m.ProtocolVersion, n)
	case kindAS:
		if n < 0 || n > math.MaxUint32 {
			return s, false
		}
		m.MappedAs = new(uint32(n))
	case kindCount:
		m.Count = new(n)
	case kindBytes:
		m.Bytes = new(n)
	case kindProcessed:
		m.ProcessedCount = new(n)
	case kindLimited:
		m.RateLimitedCount = new(n)
	case kindPrefilled:
		m.PrefilledCount = new(n)
	case kindMempool:
		m.MempoolCount = new(n)
	case kindExtra:
		m.ExtraPoolCount = new(n)
	case kindSeconds:
		return rest, setScaled(&m.DurationUs, float64(n), 1e6)
	case kindMinutes:
		return rest, setScaled(&m.DurationUs, float64(n), 60e6)
	case kindKB:
		return rest, setScaled(&m.Bytes, float64(n), 1e3)
	case kindInt:
	default:
		return s, false
	}
	return rest, true
}

func set32(field **int32, n int64) bool {
	if n < math.MinInt32 || n > math.MaxInt32 {
		return false
	}
	*field = new(int32(n))
	return true
}

// setScaled sets an integer field from a number in another unit. The limit is where
// float64 no longer holds every integer.
func setScaled(field **int64, f, scale float64) bool {
	n := math.Round(f * scale)
	if math.Abs(n) > 1<<53 {
		return false
	}
	*field = new(int64(n))
	return true
}

// takeText takes n bytes into a field; nil for none.
func takeText(s string, n int, field **string) (rest string, ok bool) {
	if n == 0 {
		return s, false
	}
	if field != nil {
		*field = new(s[:n])
	}
	return s[n:], true
}

func takePeer(s string, m *eventpb.KnownLogMessage) (rest string, ok bool) {
	n := digits(s)
	id, err := strconv.ParseUint(s[:n], 10, 63)
	if err != nil {
		return s, false
	}
	m.PeerId = new(id)
	return s[n:], true
}

// takeLogPeer takes what CNode::LogPeer writes.
func takeLogPeer(s, following string, m *eventpb.KnownLogMessage) (rest string, ok bool) {
	if rest, ok = strings.CutPrefix(s, "peer="); !ok {
		return s, false
	}
	if rest, ok = takePeer(rest, m); !ok {
		return s, false
	}
	after, ok := strings.CutPrefix(rest, ", peeraddr=")
	if !ok {
		// Bitcoin Core 29.
		if after, ok = strings.CutPrefix(rest, " peeraddr="); !ok {
			return rest, true
		}
	}
	return takeText(after, addressLength(after, following), &m.Address)
}

func takeHash(s string, field **string) (rest string, ok bool) {
	if n := hexLength(s); n != hashDigits {
		return s, false
	}
	*field = new(s[:hashDigits])
	return s[hashDigits:], true
}

// addressLength is the length of the address that s begins with: up to a character
// that no address has, or up to the text that follows in the pattern.
func addressLength(s, following string) int {
	n := 0
	for n < len(s) && n < maxAddress && isAddress(s[n]) {
		n++
	}
	if following != "" {
		if i := strings.Index(s[:min(len(s), n+len(following))], following); i >= 0 {
			n = min(n, i)
		}
	}
	return n
}

func isAddress(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte(".:[]-_%/", c) >= 0
}

func wordLength(s string) int {
	n := 0
	for n < len(s) && n < maxWord && (isDigit(s[n]) || s[n] >= 'a' && s[n] <= 'z' || s[n] >= 'A' && s[n] <= 'Z' || s[n] == '-' || s[n] == '_') {
		n++
	}
	return n
}

func hexLength(s string) int {
	n := 0
	for n < len(s) && (isDigit(s[n]) || s[n] >= 'a' && s[n] <= 'f') {
		n++
	}
	return n
}

func digits(s string) int {
	n := 0
	for n < len(s) && n < maxNumber && isDigit(s[n]) {
		n++
	}
	return n
}

// takeInt takes an integer with or without sign.
func takeInt(s string) (value int64, rest string, ok bool) {
	sign := 0
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign = 1
	}
	n := sign + digits(s[sign:])
	value, err := strconv.ParseInt(s[:n], 10, 64)
	if err != nil {
		return 0, s, false
	}
	return value, s[n:], true
}

// takeFloat takes a number as printf's %f writes it.
func takeFloat(s string) (value float64, rest string, ok bool) {
	n := 0
	if s != "" && s[0] == '-' {
		n = 1
	}
	whole := digits(s[n:])
	if whole == 0 {
		return 0, s, false
	}
	n += whole
	if n < len(s) && s[n] == '.' {
		if fraction := digits(s[n+1:]); fraction > 0 {
			n += 1 + fraction
		}
	}
	value, err := strconv.ParseFloat(s[:n], 64)
	if err != nil {
		return 0, s, false
	}
	return value, s[n:], true
}
