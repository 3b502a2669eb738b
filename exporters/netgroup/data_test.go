package netgroup

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBuiltin(t *testing.T) {
	d := Builtin()
	if d.Current().Lists(parse(t, "162.218.65.254")) != 1 || d.Current().Lists(parse(t, "192.0.2.222")) != 0 {
		t.Error("the built-in list doesn't hold what it should")
	}
}

func TestListsAndReload(t *testing.T) {
	dir := t.TempDir()
	exits, banned := filepath.Join(dir, "exits.txt"), filepath.Join(dir, "banned.txt")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(exits, "# exits of today\n198.96.155.3\n2a0b:f4c2::/32 # relay\n\n::ffff:8.8.4.4\n")
	write(banned, "198.96.0.0/16\n")
	d, err := Load(Config{Lists: map[string]string{"tor_exit": exits, "banned": banned}, Reload: time.Millisecond}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(d.Names(), " "); got != "banned linkinglion tor_exit" {
		t.Fatalf("names %q", got)
	}
	for text, want := range map[string]uint8{
		"198.96.155.3": 0b101, "198.96.1.1": 0b001, "2a0b:f4c2::1": 0b100, "8.8.4.4": 0b100, "162.218.65.1": 0b010, "8.8.8.8": 0,
		"pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion": 0,
	} {
		if got := d.Current().Lists(parse(t, text)); got != want {
			t.Errorf("%s: lists %b, want %b", text, got, want)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	eventually := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	address := parse(t, "8.8.8.8")
	write(banned, "8.8.8.0/24\n")
	eventually("a changed file was not read", func() bool { return d.Current().Lists(address) == 0b001 })
	write(banned, "not an address\n")
	write(exits, "8.8.8.8\n")
	// The damaged file keeps the whole old content in use until it is mended.
	write(banned, "8.8.0.0/16\n\n")
	eventually("a mended file was not read", func() bool { return d.Current().Lists(address) == 0b101 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestListErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	many := map[string]string{}
	for name := range strings.SplitSeq("a b c d e f g h", " ") {
		many[name] = file(name, "")
	}
	for name, test := range map[string]struct {
		config Config
		want   string
	}{
		"name":    {Config{Lists: map[string]string{"Bad-Name": file("x", "")}}, "Bad-Name"},
		"many":    {Config{Lists: many}, "at most 8"},
		"missing": {Config{Lists: map[string]string{"x": filepath.Join(dir, "missing")}}, "missing"},
		"line":    {Config{Lists: map[string]string{"x": file("bad", "1.2.3.4\n1.2.3.4/33\n")}}, "line 2"},
		"long":    {Config{Lists: map[string]string{"x": file("long", strings.Repeat("1", 1000))}}, "line 1"},
		"asmap":   {Config{ASMap: file("asmap", "\xff\xff")}, "asmap"},
		"reload":  {Config{Reload: -1}, "positive"},
	} {
		if _, err := Load(test.config, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v should contain %q", name, err, test.want)
		}
	}
}
