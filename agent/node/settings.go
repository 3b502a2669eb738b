package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// value is one setting as Bitcoin Core's ArgsManager holds it (common/args.cpp):
// negated (-nofoo, or false in settings.json) or a text.
type value struct {
	text    string
	negated bool
}

// values are all assignments of one name in one source, in order.
type values []value

// settings are a node's settings by source. The order of precedence is command
// line, settings.json, the chain's section of bitcoin.conf, its default section
// (common/settings.cpp, MergeSettings).
type settings struct {
	commandLine map[string]values
	file        map[string]values            // settings.json
	config      map[string]map[string]values // bitcoin.conf by section, "" the default
}

func newSettings() *settings {
	return &settings{
		commandLine: make(map[string]values),
		file:        make(map[string]values),
		config:      make(map[string]map[string]values),
	}
}

// Bounds on what is read from another process or from a file.
const (
	maxArguments     = 4096
	maxConfigLines   = 100_000
	maxConfigEntries = 20_000
)

// parseKey takes "name", "section.name", "noname" or "section.noname" apart
// (common/args.cpp, InterpretKey).
func parseKey(key string) (section, name string, negated bool) {
	if before, after, found := strings.Cut(key, "."); found {
		section, key = before, after
	}
	if rest, found := strings.CutPrefix(key, "no"); found {
		return section, rest, true
	}
	return section, key, false
}

// interpret makes a value of what stands after the "=". A double negative
// (-nofoo=0) is a plain true.
func interpret(text string, hasText, negated bool) value {
	if !negated {
		return value{text: text}
	}
	if hasText && !isTrue(text) {
		return value{text: "1"}
	}
	return value{negated: true}
}

// isTrue is Bitcoin Core's reading of a boolean: nothing and every number but
// zero are true; a text that is no number is zero (common/args.cpp,
// InterpretBool).
func isTrue(text string) bool {
	return text == "" || leadingInt(text) != 0
}

// leadingInt reads a number the way atoi does: what follows it is ignored, and
// no number at all is 0. It saturates.
func leadingInt(text string) int64 {
	text = strings.TrimLeft(text, " \f\n\r\t\v")
	end := 0
	if end < len(text) && (text[end] == '-' || text[end] == '+') {
		end++
	}
	for end < len(text) && text[end] >= '0' && text[end] <= '9' {
		end++
	}
	number, err := strconv.ParseInt(text[:end], 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return number
}

// parseCommandLine reads a node's arguments, without the program's name
// (common/args.cpp, ParseParameters). Arguments that Bitcoin Core would refuse
// are passed over: the process runs, so there are none that matter.
func (s *settings) parseCommandLine(args []string) {
	if len(args) > maxArguments {
		args = args[:maxArguments]
	}
	for _, arg := range args {
		if arg == "-" || !strings.HasPrefix(arg, "-") {
			return
		}
		key, text, hasText := strings.Cut(arg, "=")
		key = strings.TrimPrefix(key, "-")
		key = strings.TrimPrefix(key, "-")
		section, name, negated := parseKey(key)
		if section != "" || name == "" {
			continue
		}
		s.commandLine[name] = append(s.commandLine[name], interpret(text, hasText, negated))
	}
}

// parseConfig adds the entries of one configuration file (common/config.cpp,
// GetConfigOptions). A line that Bitcoin Core would refuse makes an error; the
// lines before and after it count.
func (s *settings) parseConfig(text string) error {
	var problems []error
	prefix := ""
	entries := 0
	number := 0
	for line := range strings.Lines(text) {
		number++
		if number > maxConfigLines || entries >= maxConfigEntries {
			problems = append(problems, fmt.Errorf("line %d: too long, the rest is ignored", number))
			break
		}
		line, _, _ = strings.Cut(line, "#")
		line = strings.Trim(line, " \t\r\n")
		switch {
		case line == "":
		case line[0] == '[' && line[len(line)-1] == ']' && len(line) >= 2:
			prefix = line[1:len(line)-1] + "."
		case line[0] == '-':
			problems = append(problems, fmt.Errorf("line %d: option with a leading dash", number))
		default:
			key, text, found := strings.Cut(line, "=")
			if !found {
				problems = append(problems, fmt.Errorf("line %d: no = in it", number))
				continue
			}
			section, name, negated := parseKey(prefix + strings.Trim(key, " \t\r\n"))
			if s.config[section] == nil {
				s.config[section] = make(map[string]values)
			}
			s.config[section][name] = append(s.config[section][name],
				interpret(strings.Trim(text, " \t\r\n"), true, negated))
			entries++
		}
	}
	if len(problems) > 3 {
		problems = append(problems[:3], errors.New("and more"))
	}
	return errors.Join(problems...)
}

// parseSettingsFile reads settings.json, which the node itself writes.
func (s *settings) parseSettingsFile(text []byte) error {
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		return err
	}
	for name, content := range object {
		list, isList := content.([]any)
		if !isList {
			list = []any{content}
		}
		for _, element := range list {
			switch element := element.(type) {
			case bool:
				s.file[name] = append(s.file[name], value{text: "1", negated: !element})
			case string:
				s.file[name] = append(s.file[name], value{text: element})
			case json.Number:
				s.file[name] = append(s.file[name], value{text: element.String()})
			}
		}
	}
	return nil
}

// cancelled is the number of leading values that a later negation cancels.
func (v values) cancelled() int {
	for i := len(v); i > 0; i-- {
		if v[i-1].negated {
			return i
		}
	}
	return 0
}

func (v values) lastNegated() bool { return len(v) > 0 && v[len(v)-1].negated }

// onlyInSection lists settings whose value in the default section of
// bitcoin.conf holds for the main chain only (NETWORK_ONLY in init.cpp).
func onlyInSection(name string) bool {
	switch name {
	case "addnode", "bind", "connect", "port", "rpcbind", "rpcport", "wallet", "walletdir":
		return true
	}
	return false
}

// source is the values of one name in one source with how to read them.
type source struct {
	values         values
	fromConfig     bool
	defaultSection bool
}

// sources returns where name is set, highest precedence first. chain is the
// section to look into; empty for none.
func (s *settings) sources(chain, name string) []source {
	var found []source
	if v, ok := s.commandLine[name]; ok {
		found = append(found, source{values: v})
	}
	if v, ok := s.file[name]; ok {
		found = append(found, source{values: v})
	}
	if chain != "" {
		if v, ok := s.config[chain][name]; ok {
			found = append(found, source{values: v, fromConfig: true})
		}
	}
	if v, ok := s.config[""][name]; ok {
		found = append(found, source{values: v, fromConfig: true, defaultSection: true})
	}
	return found
}

// get returns the one value of a setting, and whether it is set at all
// (common/settings.cpp, GetSetting): the last one on a command line, but the
// first one in a configuration file.
func (s *settings) get(chain, name string) (value, bool) {
	ignoreDefault := chain != "" && chain != ChainMain && onlyInSection(name)
	for _, source := range s.sources(chain, name) {
		v := source.values
		if ignoreDefault && source.defaultSection && !v.lastNegated() {
			continue
		}
		if v.lastNegated() {
			return value{negated: true}, true
		}
		if rest := v[v.cancelled():]; len(rest) > 0 {
			if source.fromConfig {
				return rest[0], true
			}
			return rest[len(rest)-1], true
		}
	}
	return value{}, false
}

// chainFlag is get for -regtest and its like, where the last one counts in a
// configuration file too, and a negated one on a command line counts for
// nothing.
func (s *settings) chainFlag(name string) bool {
	for _, source := range s.sources("", name) {
		v := source.values
		if v.lastNegated() {
			continue
		}
		return isTrue(v[len(v)-1].text)
	}
	return false
}

// list returns all values of a setting that may be given several times
// (common/settings.cpp, GetSettingsList).
func (s *settings) list(chain, name string) []string {
	ignoreDefault := chain != "" && chain != ChainMain && onlyInSection(name)
	var result []string
	done, negatedEmpty := false, false
	for _, source := range s.sources(chain, name) {
		if ignoreDefault && source.defaultSection {
			continue
		}
		v := source.values
		// Values of a configuration file come back where a negation on the
		// command line is followed by another value.
		if !done || source.fromConfig && !negatedEmpty {
			for _, element := range v[v.cancelled():] {
				result = append(result, element.text)
			}
		}
		done = done || v.cancelled() > 0
		negatedEmpty = negatedEmpty || v.lastNegated() && len(result) == 0
	}
	return result
}

// text returns a setting's text, or fallback where it isn't set.
func (s *settings) text(chain, name, fallback string) string {
	v, ok := s.get(chain, name)
	switch {
	case !ok:
		return fallback
	case v.negated:
		return "0"
	}
	return v.text
}

// boolean returns a setting as a boolean, or fallback where it isn't set.
func (s *settings) boolean(chain, name string, fallback bool) bool {
	v, ok := s.get(chain, name)
	switch {
	case !ok:
		return fallback
	case v.negated:
		return false
	}
	return isTrue(v.text)
}

// path returns a setting that is a path: fallback where it isn't set or is
// empty, nothing where it is negated (common/args.cpp, GetPathArg).
func (s *settings) path(chain, name, fallback string) string {
	v, ok := s.get(chain, name)
	switch {
	case ok && v.negated:
		return ""
	case !ok || v.text == "":
		return fallback
	}
	return v.text
}
