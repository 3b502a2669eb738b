package dashboards

import (
	"regexp"
	"strings"
)

// matchers select what the variables at the top of a dashboard say. The label node is
// empty where a process serves one node only, which $node matches too.
const matchers = `job=~"$job",instance=~"$instance",node=~"$node"`

// processMatchers are those of metrics of a process, which may serve several nodes.
const processMatchers = `job=~"$job",instance=~"$instance"`

// expand puts the matchers of the variables into every selector of an expression.
func expand(expression string) string {
	name := regexp.MustCompile(`^(?:peerobserver_[a-z0-9_]+|peerobserver:[a-z0-9_:]+|ALERTS|up|(?:process|go|scrape)_[a-z_]+)`)
	var out strings.Builder
	for rest := expression; rest != ""; {
		switch c := rest[0]; {
		case c == '"' || c == '{':
			closing := map[byte]string{'"': `"`, '{': "}"}[c]
			end := strings.Index(rest[1:], closing)
			if end < 0 {
				end = len(rest) - 2
			}
			out.WriteString(rest[:end+2])
			rest = rest[end+2:]
		case isNameByte(c):
			word := rest
			if end := strings.IndexFunc(rest, func(r rune) bool { return r > 127 || !isNameByte(byte(r)) }); end >= 0 {
				word = rest[:end]
			}
			rest = rest[len(word):]
			out.WriteString(word)
			if name.FindString(word) != word || strings.HasPrefix(word, "peerobserver:threshold_") {
				continue
			}
			add := matchers
			if !strings.HasPrefix(word, "peerobserver") && word != "ALERTS" || word == "peerobserver_build_info" {
				add = processMatchers
			}
			if strings.HasPrefix(rest, "{") {
				out.WriteString("{" + add + ",")
				end := strings.Index(rest, "}") + 1
				out.WriteString(rest[1:end])
				rest = rest[end:]
			} else {
				out.WriteString("{" + add + "}")
			}
		default:
			out.WriteByte(c)
			rest = rest[1:]
		}
	}
	return out.String()
}

func isNameByte(c byte) bool {
	return c == '_' || c == ':' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// legend writes out {{who}}. One of the two labels is often empty, which leaves a blank.
func legend(text string) string {
	return strings.ReplaceAll(text, "{{who}}", "{{instance}} {{node}}")
}
