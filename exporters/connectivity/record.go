package connectivity

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// Format is how the record is written.
type Format uint8

// The formats.
const (
	// FormatJSON is one JSON object a line.
	FormatJSON Format = iota
	// FormatCSV is RFC 4180 with a header.
	FormatCSV
)

// ParseFormat reads "json" or "csv".
func ParseFormat(name string) (Format, error) {
	switch name {
	case "json":
		return FormatJSON, nil
	case "csv":
		return FormatCSV, nil
	default:
		return 0, fmt.Errorf("unknown format %q (known: json, csv)", name)
	}
}

// recordMode is that of the record: what peers announce is for the operator.
const recordMode = 0o600

// Row is one check in the record.
type Row struct {
	// Time is when the check ended.
	Time time.Time `json:"time"`
	// Network is ipv4, ipv6, onion, i2p or cjdns.
	Network string `json:"network"`
	Address string `json:"address"`
	Port    uint16 `json:"port"`
	Result  Result `json:"result"`
	// Transport is v1 or v2; empty when there was no connection.
	Transport string `json:"transport,omitempty"`
	// FellBack says that v2 was tried first.
	FellBack bool `json:"v2_failed,omitempty"`
	// ConnectMS and HandshakeMS are times in milliseconds; connecting by a proxy is all
	// that the proxy did.
	ConnectMS   int64 `json:"connect_ms"`
	HandshakeMS int64 `json:"handshake_ms,omitempty"`
	// AnnouncedAt is when the node that is observed heard of the address; LastSeen when
	// it was last seen, and AnnouncedServices what it offers, as was claimed.
	AnnouncedAt       time.Time `json:"announced_at"`
	LastSeen          time.Time `json:"last_seen"`
	AnnouncedServices string    `json:"announced_services"`
	// What the node said of itself. Services are hexadecimal with 16 digits.
	ProtocolVersion int32  `json:"protocol_version,omitempty"`
	Services        string `json:"services,omitempty"`
	UserAgent       string `json:"user_agent,omitempty"`
	Height          int32  `json:"height,omitempty"`
}

func newRow(a *announcement, o *outcome, now time.Time) *Row {
	r := &Row{
		Time: now.UTC().Truncate(time.Millisecond), Network: a.address.Network.String(), Address: a.address.String(), Port: a.port,
		Result: o.result, FellBack: o.fellBack, ConnectMS: o.connect.Milliseconds(), HandshakeMS: o.handshake.Milliseconds(),
		AnnouncedAt: a.at.UTC(), LastSeen: fromUnix(a.seen).UTC(), AnnouncedServices: hex64(a.services),
	}
	if o.transport != 0 {
		r.Transport = "v" + strconv.Itoa(o.transport)
	}
	if o.result == ResultSuccess {
		r.ProtocolVersion, r.Services, r.UserAgent, r.Height = o.node.protocol, hex64(o.node.services), o.node.userAgent, o.node.height
	}
	return r
}

func hex64(v uint64) string { return fmt.Sprintf("%016x", v) }

// columns are the names of the columns of a CSV file.
func columns() []string {
	return []string{
		"time", "network", "address", "port", "result", "transport", "v2_failed", "connect_ms", "handshake_ms",
		"announced_at", "last_seen", "announced_services", "protocol_version", "services", "user_agent", "height",
	}
}

func (r *Row) fields() []string {
	return []string{
		r.Time.Format(time.RFC3339Nano), r.Network, r.Address, strconv.Itoa(int(r.Port)), string(r.Result), r.Transport,
		strconv.FormatBool(r.FellBack), strconv.FormatInt(r.ConnectMS, 10), strconv.FormatInt(r.HandshakeMS, 10),
		r.AnnouncedAt.Format(time.RFC3339Nano), r.LastSeen.Format(time.RFC3339Nano), r.AnnouncedServices,
		strconv.Itoa(int(r.ProtocolVersion)), r.Services, spreadsheetSafe(r.UserAgent), strconv.Itoa(int(r.Height)),
	}
}

// spreadsheetSafe keeps a user agent, which strangers choose, from being a formula in
// the spreadsheet that opens the file.
func spreadsheetSafe(text string) string {
	if text != "" && bytes.IndexByte([]byte("=+-@\t\r"), text[0]) >= 0 {
		return "'" + text
	}
	return text
}

// record is the append-only file. A row is written as a whole or not at all.
type record struct {
	f      *os.File
	format Format
	size   int64
	line   bytes.Buffer
}

// openRecord opens the file, and ends its last line if that was cut off when an
// earlier run was killed.
func openRecord(path string, format Format) (*record, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, recordMode)
	if err != nil {
		return nil, err
	}
	r := &record{f: f, format: format}
	if err := r.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return r, nil
}

func (r *record) begin() error {
	info, err := r.f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	r.size = info.Size()
	if r.size == 0 {
		if r.format == FormatCSV {
			return r.csv(columns())
		}
		return nil
	}
	var last [1]byte
	if _, err := r.f.ReadAt(last[:], r.size-1); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if last[0] != '\n' {
		r.line.Reset()
		r.line.WriteByte('\n')
		return r.append()
	}
	return nil
}

// write appends a row.
func (r *record) write(row *Row) error {
	if r.format == FormatCSV {
		return r.csv(row.fields())
	}
	r.line.Reset()
	encoder := json.NewEncoder(&r.line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(row); err != nil {
		return err
	}
	return r.append()
}

func (r *record) csv(fields []string) error {
	r.line.Reset()
	w := csv.NewWriter(&r.line)
	if err := w.Write(fields); err != nil {
		return err
	}
	w.Flush()
	return r.append()
}

// append writes the line at the end; what a failed write left is cut off again.
func (r *record) append() error {
	n, err := r.f.Write(r.line.Bytes())
	if err != nil {
		if n > 0 {
			return errors.Join(err, r.f.Truncate(r.size))
		}
		return err
	}
	r.size += int64(n)
	return nil
}

func (r *record) close() error { return errors.Join(r.f.Sync(), r.f.Close()) }
