package eventpb_test

import (
	"strings"
	"testing"

	"github.com/peerobserver/peerobserver/proto/eventpb"
)

// TestConnectionTypes goes from each value to the other enum and back: the ones that
// both have keep their name, the others are unknown.
func TestConnectionTypes(t *testing.T) {
	same := func(x eventpb.ConnectionType, old eventpb.ConnType) bool {
		return strings.TrimPrefix(x.String(), "CONNECTION_TYPE_") == strings.TrimPrefix(old.String(), "CONN_TYPE_")
	}
	for number := range eventpb.ConnType_name {
		old := eventpb.ConnType(number)
		if x := old.ConnectionType(); !same(x, old) || x.ConnType() != old {
			t.Errorf("%s becomes %s and %s", old, x, x.ConnType())
		}
	}
	additions := 0
	for number := range eventpb.ConnectionType_name {
		x := eventpb.ConnectionType(number)
		if old := x.ConnType(); old == eventpb.ConnType_CONN_TYPE_UNKNOWN && x != eventpb.ConnectionType_CONNECTION_TYPE_UNKNOWN {
			additions++
		} else if !same(x, old) {
			t.Errorf("%s becomes %s", x, old)
		}
	}
	if want := len(eventpb.ConnectionType_name) - len(eventpb.ConnType_name); additions != want {
		t.Errorf("%d types are unknown to the existing tools, want %d", additions, want)
	}
	for _, number := range []int32{-1, 99} {
		if old, x := eventpb.ConnectionType(number).ConnType(), eventpb.ConnType(number).ConnectionType(); old != 0 || x != 0 {
			t.Errorf("value %d becomes %s and %s", number, old, x)
		}
	}
}
