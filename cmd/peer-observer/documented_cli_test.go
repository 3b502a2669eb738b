package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/lab/regtest"
)

// inCLI is a call of bitcoin-cli in a sentence, up to what is done with its output.
var inCLI = regexp.MustCompile("`bitcoin-cli ([^`|]+)[^`]*`")

// What the documents, runbooks foremost, tell operators to ask the node is there to be
// asked: a node knows every command, and takes those that are given in full.
func TestNodeKnowsCommandsInDocuments(t *testing.T) {
	node := regtest.ForTest(t, regtest.Config{})
	pages := map[string][]string{}
	for page, content := range markdown(t) {
		for _, match := range inCLI.FindAllStringSubmatch(content, -1) {
			command := strings.TrimSpace(match[1])
			pages[command] = append(pages[command], page)
		}
	}
	ran := 0
	for command, on := range pages {
		words := simpleCommands(command)[0]
		var help string
		if err := node.Call(t.Context(), "help", []any{words[0]}, &help); err != nil || strings.HasPrefix(help, "help: unknown command") {
			t.Errorf("%v: bitcoin-cli %s: %s (%v)", on, command, help, err)
			continue
		}
		// A name in capitals stands for something, and a command that can't do without
		// arguments is only spoken of when it has none.
		placeholder := slices.ContainsFunc(words[1:], func(word string) bool { return strings.ToUpper(word) == word && strings.ToLower(word) != word })
		if placeholder || len(words) == 1 && !strings.HasPrefix(words[0], "get") {
			continue
		}
		arguments := []any{}
		for _, word := range words[1:] {
			var value any
			if json.Unmarshal([]byte(word), &value) != nil {
				value = word
			}
			arguments = append(arguments, value)
		}
		if err := node.Call(t.Context(), words[0], arguments, nil); err != nil {
			t.Errorf("%v: bitcoin-cli %s: %v", on, command, err)
		}
		ran++
	}
	if len(pages) < 15 || ran < 8 {
		t.Errorf("found only %d commands and ran %d", len(pages), ran)
	}
}
