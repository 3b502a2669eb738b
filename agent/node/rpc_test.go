package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// testServer answers RPC calls with handle and returns a client of it whose
// cookie is user:secret.
func testServer(t *testing.T, handle http.HandlerFunc) (*Client, string) {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	cookie := filepath.Join(t.TempDir(), ".cookie")
	writeFile(t, cookie, "user:secret")
	client, err := NewClient(ClientOptions{
		Address: strings.TrimPrefix(server.URL, "http://"), CookieFile: cookie, MaxResponseBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client, cookie
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestCallSendsAndDecodes(t *testing.T) {
	client, _ := testServer(t, func(w http.ResponseWriter, r *http.Request) {
		var got request
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		user, password, _ := r.BasicAuth()
		fmt.Fprintf(w, `{"result":"%s %s %s %v","error":null,"id":%d}`, user, password, got.Method, got.Params, got.ID)
	})
	var result string
	if err := client.Call(t.Context(), "getblockhash", []any{5}, &result); err != nil || result != "user secret getblockhash [5]" {
		t.Errorf("result %q (%v)", result, err)
	}
	if err := client.Call(t.Context(), "uptime", nil, &result); err != nil || result != "user secret uptime []" {
		t.Errorf("result %q (%v)", result, err)
	}
	var wrong int
	if err := client.Call(t.Context(), "uptime", nil, &wrong); err == nil {
		t.Error("a text decodes as a number")
	}
}

func TestCallErrors(t *testing.T) {
	for _, test := range []struct {
		name   string
		handle http.HandlerFunc
		want   error  // by errors.Is
		part   string // of the text
	}{
		{"warming up", answer(500, `{"result":null,"error":{"code":-28,"message":"Loading block index…"},"id":1}`), ErrWarmingUp, "Loading block index"},
		{"unknown method", answer(404, `{"result":null,"error":{"code":-32601,"message":"Method not found"},"id":1}`), ErrMethodNotFound, "Method not found"},
		{"refused", answer(401, ""), ErrUnauthorized, "--rpc.cookie-file"},
		{"address not allowed", answer(403, ""), nil, "-rpcallowip"},
		{"queue full", answer(503, "Work queue depth exceeded"), nil, "-rpcworkqueue"},
		{"no JSON", answer(200, "<html>hello"), nil, "not JSON-RPC"},
		{"another server", answer(418, "I am\x1b[31m a teapot"), nil, "418"},
		{"large by length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "999999999999")
			w.WriteHeader(200)
		}, ErrResponseTooLarge, "1048576"},
		{"large in chunks", func(w http.ResponseWriter, _ *http.Request) {
			for range 64 {
				_, _ = w.Write(make([]byte, 64<<10))
			}
		}, ErrResponseTooLarge, "1048576"},
		{"hangs up", func(w http.ResponseWriter, _ *http.Request) {
			panic(http.ErrAbortHandler)
		}, ErrUnreachable, "server=1"},
		{"cut short", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"result":`)
		}, ErrUnreachable, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, _ := testServer(t, test.handle)
			err := client.Call(t.Context(), "uptime", nil, nil)
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.part) {
				t.Errorf("error %v, want %v with %q", err, test.want, test.part)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("error %q has control characters", err)
			}
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var reached atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer other.Close()
	client, _ := testServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	var status *HTTPError
	if err := client.Call(t.Context(), "uptime", nil, nil); !errors.As(err, &status) || status.Status != 307 || reached.Load() {
		t.Errorf("error %v, other server reached: %v", err, reached.Load())
	}
}

func TestCookieIsReadAgainAfter401(t *testing.T) {
	var valid atomic.Value
	valid.Store("secret")
	var refusals atomic.Int32
	client, cookie := testServer(t, func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != valid.Load() {
			refusals.Add(1)
			w.WriteHeader(401)
			return
		}
		_, _ = io.WriteString(w, `{"result":1,"error":null}`)
	})
	call := func() error { return client.Call(t.Context(), "uptime", nil, nil) }
	if err := call(); err != nil {
		t.Fatal(err)
	}
	// The same size and times: only the 401 tells that the file has changed.
	before, err := os.Stat(cookie)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, cookie, "user:second")
	if err := os.Chtimes(cookie, before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	valid.Store("second")
	if err := call(); err != nil || refusals.Load() != 1 {
		t.Errorf("after a rotation: %v, %d refusals, want 1", err, refusals.Load())
	}
	// A replaced file is noticed before the call.
	writeFile(t, cookie+".tmp", "user:a third")
	if err := os.Rename(cookie+".tmp", cookie); err != nil {
		t.Fatal(err)
	}
	valid.Store("a third")
	if err := call(); err != nil || refusals.Load() != 1 {
		t.Errorf("after a second one: %v, %d refusals, want 1", err, refusals.Load())
	}
	// Credentials that were refused are not tried again.
	valid.Store("something else")
	if err := call(); !errors.Is(err, ErrUnauthorized) || refusals.Load() != 2 {
		t.Errorf("with a wrong cookie: %v, %d refusals, want 2", err, refusals.Load())
	}
}

func TestUnusableCredentials(t *testing.T) {
	dir := t.TempDir()
	empty, directory, pipe, large := filepath.Join(dir, "empty"), filepath.Join(dir, "dir"), filepath.Join(dir, "pipe"), filepath.Join(dir, "large")
	writeFile(t, empty, "")
	writeFile(t, large, strings.Repeat("x", 5000))
	if err := errors.Join(os.Mkdir(directory, 0o700), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for path, part := range map[string]string{
		filepath.Join(dir, "none"): "the node writes it",
		empty:                      "user:password",
		directory:                  "regular",
		pipe:                       "regular",
		large:                      "4096",
	} {
		client, err := NewClient(ClientOptions{Address: "127.0.0.1:1", CookieFile: path})
		if err != nil {
			t.Fatal(err)
		}
		err = client.Call(t.Context(), "uptime", nil, nil)
		if !errors.Is(err, ErrCredentials) || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want ErrCredentials with %q and %s", err, part, path)
		}
	}
	for _, options := range []ClientOptions{
		{}, {User: "u"}, {PasswordFile: "p"}, {User: "a:b", PasswordFile: "p"},
	} {
		options.Address = "127.0.0.1:1"
		if _, err := NewClient(options); !errors.Is(err, ErrCredentials) || !strings.Contains(err.Error(), "--rpc.user") {
			t.Errorf("%+v: error %v, want ErrCredentials with --rpc.user", options, err)
		}
	}
	if _, err := NewClient(ClientOptions{Address: "nonsense", CookieFile: "c"}); err == nil || !strings.Contains(err.Error(), "--rpc.address") {
		t.Errorf("address: %v, want --rpc.address", err)
	}
}

func TestPasswordFile(t *testing.T) {
	client, _ := testServer(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "alice" || password != " pass:word " {
			w.WriteHeader(401)
			return
		}
		_, _ = io.WriteString(w, `{"result":1,"error":null}`)
	})
	file := filepath.Join(t.TempDir(), "password")
	writeFile(t, file, " pass:word \n")
	withFile, err := NewClient(ClientOptions{Address: client.Address(), User: "alice", PasswordFile: file})
	if err != nil {
		t.Fatal(err)
	}
	if err := withFile.Call(t.Context(), "uptime", nil, nil); err != nil {
		t.Error(err)
	}
	writeFile(t, file, "wrong\n")
	err = withFile.Call(t.Context(), "uptime", nil, nil)
	if !errors.Is(err, ErrUnauthorized) || !strings.Contains(err.Error(), "--rpc.password-file") || !strings.Contains(err.Error(), "alice") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong password: %v", err)
	}
}

func TestContextEndsACall(t *testing.T) {
	release := make(chan struct{})
	client, _ := testServer(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := client.Call(ctx, "uptime", nil, nil); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnreachable) {
		t.Errorf("error %v, want DeadlineExceeded", err)
	}
}

// A node that shuts down would wait for them.
func TestIdleConnectionsEnd(t *testing.T) {
	var opened, open atomic.Int64
	server := httptest.NewUnstartedServer(answer(http.StatusOK, `{"result":1,"error":null,"id":1}`))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened.Add(1)
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.Start()
	defer server.Close()
	client, err := NewClient(ClientOptions{Address: strings.TrimPrefix(server.URL, "http://"), User: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() { _ = client.Call(t.Context(), "uptime", nil, nil) })
	}
	calls.Wait()
	for deadline := time.Now().Add(30 * time.Second); open.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if opened.Load() == 0 || open.Load() > 0 {
		t.Errorf("%d of %d connections are open, though nobody calls", open.Load(), opened.Load())
	}
}

func FuzzResponse(f *testing.F) {
	f.Add(200, []byte(`{"result":{"a":[1]},"error":null,"id":1}`))
	f.Add(500, []byte(`{"result":null,"error":{"code":-1,"message":"\u0000"},"id":1}`))
	body, status := []byte(nil), 200
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	f.Cleanup(server.Close)
	client, err := NewClient(ClientOptions{Address: strings.TrimPrefix(server.URL, "http://"), User: "u", Password: "p"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, code int, text []byte) {
		if code < 200 || code > 599 || code == 204 || code == 304 {
			return
		}
		body, status = text, code
		var result any
		err := client.Call(t.Context(), "uptime", nil, &result)
		if code != 200 && err == nil {
			t.Fatalf("status %d with %q is no error", code, text)
		}
	})
}
