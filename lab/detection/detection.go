// Package detection makes the report docs/detection.md of what the tests of the lab have
// seen: which alerts were received, how soon, and which that nothing gave reason for.
package detection

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"go.yaml.in/yaml/v2"

	"github.com/peerobserver/peerobserver/alerts"
)

// EnvResults names the file to which tests of the lab append what they have seen.
const EnvResults = "PEER_OBSERVER_TEST_RESULTS"

// Result is a line of that file. One of its parts is there.
type Result struct {
	Rig      *Rig      `json:"rig,omitempty"`
	Provoked *Provoked `json:"provoked,omitempty"`
	// Unscaled is what came of a scenario with the rules and all intervals as they are.
	Unscaled *Provoked `json:"unscaled,omitempty"`
	Silent   *Silent   `json:"silent,omitempty"`
}

// Rig is a node with an agent, Prometheus and Alertmanager, at the end of a test.
type Rig struct {
	Cores int `json:"cores"`
	// Node is the user agent of the node.
	Node string `json:"node"`
	// TimeScale is by how much the spans of time in the rules were divided.
	TimeScale float64 `json:"time_scale"`
	// Rules are the alerts that Prometheus evaluated, Fired those that fired in it, whether
	// Alertmanager passed them on or not.
	Rules []string `json:"rules"`
	Fired []string `json:"fired"`
}

// Alarm is an alert that a receiver got.
type Alarm struct {
	Alert    string `json:"alert"`
	Severity string `json:"severity"`
	// Seconds is the time from the beginning, as it passed in the lab.
	Seconds float64 `json:"seconds"`
}

// Provoked is what came of a scenario.
type Provoked struct {
	Scenario string `json:"scenario"`
	Alert    string `json:"alert"`
	// Within is the time in which it should be received, in seconds of the rules' time.
	Within float64 `json:"within"`
	// Received is nil when it wasn't.
	Received *Alarm `json:"received"`
	// Others are the alerts that were received meanwhile and that it may give rise to too,
	// False the pages and tickets that it may not.
	Others []Alarm `json:"others,omitempty"`
	False  []Alarm `json:"false,omitempty"`
}

// Silent is what came of something harmless.
type Silent struct {
	// What it was, and how many of it: benign twins come by the dozen.
	What  string `json:"what"`
	Count int    `json:"count"`
	// Seconds is how long it took in the lab.
	Seconds float64 `json:"seconds"`
	// Allowed are the pages and tickets that the catalogue of attacks allows, False others.
	Allowed []Alarm `json:"allowed,omitempty"`
	False   []Alarm `json:"false,omitempty"`
}

// Append writes a line to the file that the environment names; without one it does nothing.
func Append(r Result) (err error) {
	path := os.Getenv(EnvResults)
	if path == "" {
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = file.Write(append(line, '\n'))
	return err
}

// Read reads such a file.
func Read(r io.Reader) ([]Result, error) {
	const longest = 1 << 20
	var all []Result
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, longest)
	for number := 1; scanner.Scan(); number++ {
		var line Result
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if line.Rig == nil && line.Provoked == nil && line.Unscaled == nil && line.Silent == nil {
			return nil, fmt.Errorf("line %d says nothing", number)
		}
		all = append(all, line)
	}
	return all, scanner.Err()
}

// Rule is an alert of the rule files.
type Rule struct {
	ID, Alert, Severity string
}

// Rules lists the alerts that there are, by their ids.
func Rules() ([]Rule, error) {
	texts, err := alerts.Texts(alerts.Options{})
	if err != nil {
		return nil, err
	}
	var all []Rule
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		var parsed struct {
			Groups []struct {
				Rules []struct {
					Alert  string            `yaml:"alert"`
					Labels map[string]string `yaml:"labels"`
				} `yaml:"rules"`
			} `yaml:"groups"`
		}
		if err := yaml.Unmarshal([]byte(texts[name]), &parsed); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, group := range parsed.Groups {
			for _, r := range group.Rules {
				if r.Alert != "" {
					all = append(all, Rule{ID: r.Labels["id"], Alert: r.Alert, Severity: r.Labels["severity"]})
				}
			}
		}
	}
	if len(all) == 0 {
		return nil, fs.ErrNotExist
	}
	slices.SortStableFunc(all, func(a, b Rule) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) })
	return all, nil
}
