package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// browser is a headless Chromium, driven by its DevTools protocol.
type browser struct {
	t       *testing.T
	conn    *websocket.Conn
	session string

	mu       sync.Mutex
	last     int
	waiting  map[int]chan answer
	closed   error
	troubles []string
}

type answer struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// startBrowser starts Chromium with one page; it ends with the test.
func startBrowser(t *testing.T, args ...string) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		t.Fatal("no Chromium: run .ci/setup, or install the package chromium")
	}
	// Not t.TempDir: Chromium's helpers may still write when it has ended.
	profile, err := os.MkdirTemp("", "chromium-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append(args, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--user-data-dir="+profile, "--remote-debugging-port=0", "about:blank")...)
	// Its helpers are in the same group of processes, and end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = os.RemoveAll(profile)
	})
	var url string
	eventually(t, "Chromium to listen", func() error {
		text, err := os.ReadFile(filepath.Join(profile, "DevToolsActivePort"))
		if err != nil {
			return err
		}
		port, path, ok := strings.Cut(strings.TrimSpace(string(text)), "\n")
		if !ok {
			return fmt.Errorf("half of a file: %q", text)
		}
		url = "ws://127.0.0.1:" + port + path
		return nil
	})
	conn, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(64 << 20)
	b := &browser{t: t, conn: conn, waiting: map[int]chan answer{}}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b.read()
	}()
	t.Cleanup(func() {
		_ = conn.CloseNow()
		<-read
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// read takes answers, and notes what a page complains of.
func (b *browser) read() {
	for {
		_, text, err := b.conn.Read(context.Background())
		var a answer
		if err == nil {
			err = json.Unmarshal(text, &a)
		}
		b.mu.Lock()
		if err != nil {
			b.closed = err
			for id, waiting := range b.waiting {
				close(waiting)
				delete(b.waiting, id)
			}
			b.mu.Unlock()
			return
		}
		if waiting := b.waiting[a.ID]; a.ID != 0 && waiting != nil {
			waiting <- a
			delete(b.waiting, a.ID)
		}
		switch a.Method {
		case "Runtime.exceptionThrown", "Log.entryAdded":
			b.troubles = append(b.troubles, a.Method+": "+string(a.Params))
		case "Runtime.consoleAPICalled":
			var call struct{ Type string }
			if json.Unmarshal(a.Params, &call) == nil && (call.Type == "error" || call.Type == "warning" || call.Type == "assert") {
				b.troubles = append(b.troubles, a.Method+": "+string(a.Params))
			}
		}
		b.mu.Unlock()
	}
}

// call calls a method of the protocol.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.mu.Lock()
	if b.closed != nil {
		b.mu.Unlock()
		b.t.Fatalf("%s: Chromium is gone: %v", method, b.closed)
	}
	b.last++
	id, waiting := b.last, make(chan answer, 1)
	b.waiting[id] = waiting
	b.mu.Unlock()
	request := map[string]any{"id": id, "method": method}
	if params != nil {
		request["params"] = params
	}
	if b.session != "" {
		request["sessionId"] = b.session
	}
	text, err := json.Marshal(request)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.conn.Write(b.t.Context(), websocket.MessageText, text); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case a, ok := <-waiting:
		switch {
		case !ok:
			b.t.Fatalf("%s: Chromium is gone", method)
		case a.Error != nil:
			b.t.Fatalf("%s: %s", method, a.Error.Message)
		case result != nil:
			if err := json.Unmarshal(a.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-time.After(60 * time.Second):
		b.t.Fatalf("%s: no answer", method)
	}
}

// evaluate gives the value of a JavaScript expression; a promise is awaited.
func (b *browser) evaluate(expression string, value any) {
	b.t.Helper()
	var result struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		ExceptionDetails json.RawMessage `json:"exceptionDetails"`
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &result)
	if result.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, result.ExceptionDetails)
	}
	if value != nil {
		if err := json.Unmarshal(result.Result.Value, value); err != nil {
			b.t.Fatalf("%s: %v", expression, err)
		}
	}
}

// open loads a page.
func (b *browser) open(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
}

// text is the text of the page as a reader sees it.
func (b *browser) text() string {
	b.t.Helper()
	var text string
	b.evaluate("document.body?.innerText ?? ''", &text)
	return text
}

// shows waits until the page shows all of the texts.
func (b *browser) shows(texts ...string) {
	b.t.Helper()
	eventually(b.t, fmt.Sprintf("the page to show %q", texts), func() error {
		page := b.text()
		for _, text := range texts {
			if !strings.Contains(page, text) {
				return fmt.Errorf("%q is not in:\n%s", text, page)
			}
		}
		return nil
	})
}

// viewport sets the size of the window and the colours that the reader wants.
func (b *browser) viewport(width int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// fits checks that the page needs no sideways scrolling.
func (b *browser) fits(what string) {
	b.t.Helper()
	var widths struct{ Content, Window int }
	b.evaluate("({Content: document.documentElement.scrollWidth, Window: window.innerWidth})", &widths)
	if widths.Content > widths.Window {
		b.t.Errorf("%s is %d pixels wide in a window of %d", what, widths.Content, widths.Window)
	}
}

// screenshot keeps a picture where $PEER_OBSERVER_SCREENSHOTS says, for people to look
// at, and always makes one: a page that can't be painted is found out.
func (b *browser) screenshot(name string) {
	b.t.Helper()
	var picture struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": false}, &picture)
	content, err := base64.StdEncoding.DecodeString(picture.Data)
	if err != nil || len(content) < 1000 {
		b.t.Fatalf("screenshot %s: %d bytes, %v", name, len(content), err)
	}
	if dir := os.Getenv("PEER_OBSERVER_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), content, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
}

// content checks that no page complained of anything.
func (b *browser) content() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, trouble := range b.troubles {
		b.t.Errorf("the browser complains: %s", trouble)
	}
}
