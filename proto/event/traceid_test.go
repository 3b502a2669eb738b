package event_test

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/peerobserver/peerobserver/proto/event"
)

// The ids are part of the contract between nodes of different versions. The wanted
// values come from `(printf block; printf HASH | xxd -r -p) | sha256sum | cut -c1-32`.
func TestTraceIDs(t *testing.T) {
	// The genesis block of the main chain, as it is displayed.
	hash, err := hex.DecodeString("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(hash)
	block, transaction := event.BlockTraceID(hash), event.TransactionTraceID(hash)
	if got := hex.EncodeToString(block[:]); got != "f561918f3b875b06dc7d172a66619fcc" {
		t.Errorf("block: %s", got)
	}
	if got := hex.EncodeToString(transaction[:]); got != "6a885aa19d287b4ed6fe6ddeb770dd1e" {
		t.Errorf("transaction: %s", got)
	}
}
