package redact_test

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// inPlay is an address that a test uses, and how it may appear.
type inPlay struct {
	text  string
	raw   []byte
	forms map[string]string
}

// addressesInPlay are addresses of every network.
func addressesInPlay() []inPlay {
	var list []inPlay
	for _, text := range []string{
		"8.23.45.67", "91.200.13.7", "10.77.66.55", "192.168.171.19", "169.254.33.44", "255.254.253.252",
		"2a00:1450:4001:81b::200e", "2604:a880:cad:d0::d9a:f001", "fe80::1234:5678:9abc:def0", "2001:db8:1234:5678:9abc:def0:1357:2468",
		"2002:817:2d43:9::77", "fc12:3456:789a:bcde:f012:3456:789a:bcde",
	} {
		ip := netip.MustParseAddr(text)
		list = append(list, inPlay{text: text, raw: ip.AsSlice(), forms: ipForms(ip)})
	}
	for _, name := range []string{
		"pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion",
		"expyuzz4wqqyqhjn.onion",
		"ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq.b32.i2p",
	} {
		label, _, _ := strings.Cut(name, ".")
		key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(label))
		if err != nil {
			panic(err)
		}
		key = key[:min(32, len(key))]
		forms := rawForms(key)
		forms["name"], forms["upper case"], forms["label"] = name, strings.ToUpper(label), label[:min(50, len(label))]
		list = append(list, inPlay{text: name, raw: key, forms: forms})
	}
	return list
}

func ipForms(ip netip.Addr) map[string]string {
	forms := rawForms(ip.AsSlice())
	forms["text"], forms["upper case"], forms["expanded"] = ip.String(), strings.ToUpper(ip.String()), ip.StringExpanded()
	if ip.Is4() {
		b := ip.As4()
		forms["decimal"] = fmt.Sprint(binary.BigEndian.Uint32(b[:]))
		forms["mapped, in hexadecimal"] = fmt.Sprintf("::ffff:%x:%x", binary.BigEndian.Uint16(b[:]), binary.BigEndian.Uint16(b[2:]))
	}
	return forms
}

// rawForms are the binary forms, and how bytes appear in text.
func rawForms(raw []byte) map[string]string {
	reversed := slices.Clone(raw)
	slices.Reverse(reversed)
	forms := map[string]string{
		"bytes": string(raw), "reversed bytes": string(reversed),
		"hexadecimal": hex.EncodeToString(raw), "upper-case hexadecimal": strings.ToUpper(hex.EncodeToString(raw)),
		"reversed hexadecimal": hex.EncodeToString(reversed),
	}
	// In base64 the letters that depend on the address alone, at each of three offsets.
	for offset := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, offset), raw...))
		first := (8*offset + 5) / 6
		last := 8 * (offset + len(raw)) / 6
		forms[fmt.Sprintf("base64 at %d", offset)] = encoded[first:last]
	}
	return forms
}

// found lists the forms of addresses that are in an output.
func found(output []byte, list []inPlay) (all []string) {
	text := string(output)
	for _, a := range list {
		for name, form := range a.forms {
			if len(form) >= 4 && strings.Contains(text, form) {
				all = append(all, fmt.Sprintf("%s as %s (%q)", a.text, name, form))
			}
		}
	}
	slices.Sort(all)
	return all
}
