// Package alerts has the alert rules for Prometheus, and the example of an Alertmanager
// configuration, so that the program can write them out, also in a copy for the lab.
package alerts

import (
	"embed"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

//go:embed *.rules.yml
var files embed.FS

// Options change the copy of the rules that Write makes.
type Options struct {
	// TimeScale divides every span of time in them, so that the lab needs not wait for
	// minutes and hours. Thresholds stay as they are. 1, or 0, changes nothing.
	TimeScale float64
	// Thresholds replace those of thresholds.rules.yml, by the name after
	// "peerobserver:threshold_".
	Thresholds map[string]float64
}

// compatibility has no alerts, but names of another program's metrics.
const compatibility = "compatibility.rules.yml"

// Write writes the rule files to a directory.
func Write(dir string, options Options) error {
	texts, err := Texts(options)
	if err != nil {
		return err
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Texts gives the rule files by name, but for that with the names of another program.
func Texts(options Options) (map[string]string, error) {
	names, err := fs.Glob(files, "*.rules.yml")
	if err != nil {
		return nil, err
	}
	unknown := map[string]bool{}
	for name := range options.Thresholds {
		unknown[name] = true
	}
	texts := map[string]string{}
	for _, name := range names {
		if name == compatibility {
			continue
		}
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		changed := string(text)
		if options.TimeScale > 0 {
			changed = Scale(changed, options.TimeScale)
		}
		for threshold, value := range options.Thresholds {
			var found bool
			if changed, found = setThreshold(changed, threshold, value); found {
				delete(unknown, threshold)
			}
		}
		texts[name] = changed
	}
	for name := range unknown {
		return nil, fmt.Errorf("there is no threshold %q in thresholds.rules.yml", name)
	}
	return texts, nil
}

// spans are the places of a rule file where a span of time stands: "[5m]", "for: 10m",
// "keep_firing_for: 5m" and "offset 1d".
func spans() *regexp.Regexp {
	return regexp.MustCompile(`(\[|\b(?:keep_firing_)?for: |\boffset )((?:\d+(?:ms|[smhdw]))+)`)
}

// Scale divides every span of time in the text of a rule file by a factor.
func Scale(text string, factor float64) string {
	expression := spans()
	return expression.ReplaceAllStringFunc(text, func(match string) string {
		parts := expression.FindStringSubmatch(match)
		scaled := max(time.Duration(math.Round(float64(duration(parts[2]))/factor)), time.Millisecond)
		return parts[1] + strconv.FormatInt(scaled.Milliseconds(), 10) + "ms"
	})
}

// duration is a duration as Prometheus writes it, such as 1h30m.
func duration(text string) time.Duration {
	units := map[string]time.Duration{
		"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
		"d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
	}
	var sum time.Duration
	for text != "" {
		digits := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
		number, err := strconv.Atoi(text[:max(digits, 0)])
		if err != nil {
			return sum
		}
		text = text[digits:]
		end := strings.IndexFunc(text, func(r rune) bool { return r >= '0' && r <= '9' })
		if end < 0 {
			end = len(text)
		}
		sum += time.Duration(number) * units[text[:end]]
		text = text[end:]
	}
	return sum
}

func setThreshold(text, name string, value float64) (string, bool) {
	rule := regexp.MustCompile(`(- record: peerobserver:threshold_` + regexp.QuoteMeta(name) + `\n\s+expr: )vector\([^)]*\)`)
	if !rule.MatchString(text) {
		return text, false
	}
	return rule.ReplaceAllString(text, "${1}vector("+strconv.FormatFloat(value, 'g', -1, 64)+")"), true
}
