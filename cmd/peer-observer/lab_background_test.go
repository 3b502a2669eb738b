package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/lab/scenario"
)

// The list has every kind of honest traffic, and what may come of it.
func TestLabListsHonestTraffic(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"lab", "list"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	for _, b := range scenario.Backgrounds() {
		if !strings.Contains(stdout.String(), "\n"+b.Name+"  "+b.Title+": "+b.Does) {
			t.Errorf("no line of %s", b.Name)
		}
		for _, alert := range b.May {
			if !strings.Contains(stdout.String(), alert) {
				t.Errorf("%s may give rise to %s, which the list doesn't say", b.Name, alert)
			}
		}
	}
}

func TestHonestTrafficAndScenariosAreRunApart(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"lab", "run", "BG1", "B04"}, &stdout, &stderr); code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
	if !strings.Contains(stderr.String(), "don't go together") {
		t.Errorf("the message is %q", &stderr)
	}
}
