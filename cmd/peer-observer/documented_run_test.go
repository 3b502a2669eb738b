package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"

	"github.com/peerobserver/peerobserver/lab/machine"
	"github.com/peerobserver/peerobserver/lab/regtest"
	"github.com/peerobserver/peerobserver/lab/scenario"
	"github.com/peerobserver/peerobserver/lab/servers"
	"github.com/peerobserver/peerobserver/proto/event"
)

// shownCommand is a command in a block of a document.
type shownCommand struct {
	page  string
	line  string
	at    int // number of its first line
	block int // of the page
}

// ofAShell are the words that a command begins with in blocks that don't say what they are.
var ofAShell = regexp.MustCompile(`^(?:\$ |sudo |[A-Z_]+=\S+ |\./)*(?:\.?\.?/?peer-observer|make|go|curl|cd|cp|docker|podman|nats|nats-server|\S+\.sh|amtool|otelcol|python3|protoc|readelf|head|openssl|setcap|systemctl|dnf|apt|git|echo) `)

// shownCommands are the commands in the blocks of the pages for users.
func shownCommands(t *testing.T) []shownCommand {
	t.Helper()
	var list []shownCommand
	for page, content := range markdown(t) {
		if page != "README.md" && filepath.Dir(page) != "docs" || page == "docs/flags.md" {
			continue
		}
		language, fenced, block, more := "", false, 0, ""
		indented := false
		for i, line := range strings.Split(content, "\n") {
			trimmed := strings.TrimSpace(line)
			if blockFence.MatchString(line) {
				fenced, more = !fenced, ""
				language = strings.TrimLeft(trimmed, "`~")
				block++
				continue
			}
			if !fenced && !strings.HasPrefix(line, "    ") {
				indented = false
				continue
			}
			if !fenced && !indented {
				indented = true
				block++
			}
			if fenced && language != "" && language != "sh" || trimmed == "" {
				continue
			}
			last := len(list) - 1
			switch {
			case more == `\`:
				list[last].line += " " + strings.TrimSuffix(trimmed, `\`)
			case more != "":
				list[last].line += "\n" + trimmed
			case fenced && language == "sh" || ofAShell.MatchString(trimmed+" ") && !strings.ContainsAny(trimmed, "│┘┐►"):
				list = append(list, shownCommand{page: page, line: strings.TrimSuffix(trimmed, `\`), at: i + 1, block: block})
			default:
				continue
			}
			last = len(list) - 1
			list[last].line = strings.TrimRight(list[last].line, " ")
			if here := regexp.MustCompile(`<<'(\w+)'$`).FindStringSubmatch(trimmed); here != nil {
				more = here[1]
			} else if more != "" && more != `\` && trimmed != more {
				continue // of a file that ends with that word
			} else if more = ""; strings.HasSuffix(trimmed, `\`) {
				more = `\`
			}
		}
	}
	return list
}

// Every command that the documents show is run by a test, as it is written, or there is a
// reason why not.
func TestCommandsAreAccountedFor(t *testing.T) {
	table := map[[2]string]bool{}
	for _, d := range documentedCommands() {
		table[[2]string{d.page, d.line}] = false
		switch {
		case d.by != "" && (d.cannot != "" || d.in != "" || d.works != nil || d.repository || d.first):
			t.Errorf("%s: %s: is it run by %s or here?", d.page, d.line, d.by)
		case d.by != "":
			if out, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "grep", "--untracked", "-qE", "^func "+d.by+`\(`, "--", "*_test.go").CombinedOutput(); err != nil {
				t.Errorf("%s: %s: there is no test %s (%v %s)", d.page, d.line, d.by, err, out)
			}
		}
	}
	list := shownCommands(t)
	for _, s := range list {
		if _, known := table[[2]string{s.page, s.line}]; !known {
			t.Errorf("%s:%d: nobody runs %q: add it to documentedCommands", s.page, s.at, s.line)
		}
		table[[2]string{s.page, s.line}] = true
	}
	for row, found := range table {
		if !found {
			t.Errorf("%s doesn't show %q any more", row[0], row[1])
		}
	}
	if len(list) < 80 {
		t.Errorf("found only %d commands", len(list))
	}
}

// envReader says to the test that it is the reader of the documents.
const envReader = "PEER_OBSERVER_TEST_READER"

// TestDocumentedCommands types commands as the documents have them, on what looks like a
// machine of its own: with a node, no other processes, and a network of loopback only in
// which the names and addresses of the documents are this machine.
func TestDocumentedCommands(t *testing.T) {
	if os.Getenv(envReader) == "" {
		t.Parallel()
		asReader(t)
		return
	}
	r := newReader(t)
	var before []string
	ran := 0
	for _, d := range documentedCommands() {
		if d.by != "" || d.cannot != "" {
			continue
		}
		if d.first {
			before = append(before, d.line)
			continue
		}
		began := time.Now()
		r.meanwhile(d.in)
		r.try(&d, strings.Join(append(before, d.line), "\n"))
		t.Logf("%v: %s: %s", time.Since(began).Round(time.Millisecond), d.page, d.line)
		before = nil
		ran++
	}
	r.meanwhile("")
	if ran < 30 {
		t.Errorf("only %d commands were run", ran)
	}
}

// asReader runs the test again in namespaces of its own.
func asReader(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		machine.Lacks(t, "root, to make namespaces")
	}
	// From where there is no Internet these couldn't be built.
	servers.CollectorForTest(t)
	servers.BuiltForTest(t)
	cmd := exec.Command("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private",
		os.Args[0], "-test.run=^TestDocumentedCommands$", "-test.v")
	cmd.Env = append(os.Environ(), envReader+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("--- PASS: TestDocumentedCommands")) {
		t.Fatalf("it wasn't run:\n%s", out)
	}
	t.Logf("%s", out)
}

// reader is who types the commands.
type reader struct {
	t *testing.T
	// directory is where, with the files that the documents speak of.
	directory string
	// line is what runs meanwhile, running that program.
	line    string
	running *program
}

// newReader prepares the machine and starts what the documents take for granted: a node,
// and the NATS servers of others.
func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{t: t, directory: t.TempDir()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(scenario.OpenNamespace())
	for i, address := range [][]byte{{192, 0, 2, 1}, {192, 0, 2, 2}} {
		must(addAddress(fmt.Sprintf("lo:%d", i+1), address))
	}
	must(os.WriteFile(r.path("hosts"), []byte("127.0.0.1 localhost\n192.0.2.2 hub hub.example.org\n"), 0o644))
	must(unix.Mount(r.path("hosts"), "/etc/hosts", "", unix.MS_BIND, ""))
	must(unix.Mount("lib", "/var/lib", "tmpfs", 0, ""))

	program, err := os.Executable()
	must(err)
	must(os.Symlink(program, r.path("peer-observer")))
	archived, err := os.ReadFile(filepath.Join(releases, "0.1.0", archiveFixture))
	must(err)
	for name, content := range map[string][]byte{
		"archive.20260131-120000-000.bin.zst": archived, "old.bin.zst": archived, "FILE": []byte("secret\n"),
		"web.yml": []byte("tls_server_config:\n  cert_file: web.crt\n  key_file: web.key\n"),
	} {
		must(os.WriteFile(r.path(name), content, 0o600))
	}
	must(os.Mkdir(r.path("DIR"), 0o755))
	if out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-subj", "/CN=node", "-keyout", r.path("web.key"), "-out", r.path("web.crt")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	r.prepareCollector()
	node := regtest.WithTracepoints(t, regtest.Config{})
	must(os.Symlink(regtest.Binary(t).Path, r.path("bitcoind")))
	traffic, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if failed, err := regtest.Traffic(traffic, node); err != nil {
			t.Logf("traffic: %d calls failed, the last: %v", failed, err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	serveNATS(t, &server.Options{ServerName: "hub", Host: "192.0.2.2", Port: 4222, MaxPayload: event.MaxSize})
	return r
}

func (r *reader) path(name string) string { return filepath.Join(r.directory, name) }

// addAddress gives an interface's alias an address (netdevice(7)).
func addAddress(alias string, address []byte) error {
	request, err := unix.NewIfreq(alias)
	if err != nil {
		return err
	}
	if err := request.SetInet4Addr(address); err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	return unix.IoctlIfreq(socket, unix.SIOCSIFADDR, request)
}

// serveNATS runs a NATS server until the test ends, or until the function is called.
func serveNATS(t *testing.T, options *server.Options) (stop func()) {
	t.Helper()
	options.NoSigs, options.NoLog = true, true
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	stop = func() {
		s.Shutdown()
		s.WaitForShutdown()
	}
	t.Cleanup(stop)
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server doesn't start")
	}
	return stop
}

// brackets are around what may be left out of a command.
var brackets = strings.NewReplacer("[--", "--", "] ", " ", "]\n", "\n")

// typed begins a command in the reader's directory, or in the repository's.
func (r *reader) typed(line string, repository bool) *program {
	r.t.Helper()
	return start(r.t, func(cmd *exec.Cmd) {
		cmd.Path = "/bin/bash"
		cmd.Args = []string{"bash", "-c", strings.TrimSpace(brackets.Replace(line + "\n"))}
		cmd.Dir = r.directory
		if repository {
			cmd.Dir = "../.."
			cmd.Args[2] = strings.ReplaceAll(cmd.Args[2], "=DIR", "="+r.path("DIR"))
		}
		cmd.Env = append(slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "PATH=") || strings.HasPrefix(v, envReader+"=") }),
			"PATH="+r.directory+":"+os.Getenv("PATH"))
	})
}

// meanwhile has a command run, in place of what ran before; none for no command.
func (r *reader) meanwhile(line string) {
	r.t.Helper()
	if line == r.line {
		return
	}
	if r.running != nil {
		r.ended(r.line, r.running)
	}
	r.line, r.running = line, nil
	if line != "" {
		r.running = r.typed(line, false)
		r.wait(line, r.running, ready)
	}
}

// try types a command and looks at what comes of it.
func (r *reader) try(d *documented, text string) {
	r.t.Helper()
	if strings.Contains(d.line, "--nats.user=agent") {
		// That of deploy/compose.yaml.
		r.t.Setenv("NATS_PASSWORD", "secret")
		options, err := server.ProcessConfigFile("../../deploy/nats.conf")
		if err != nil {
			r.t.Fatal(err)
		}
		defer serveNATS(r.t, options)()
	}
	p := r.typed(text, d.repository)
	if d.works == nil {
		select {
		case <-p.done:
		case <-time.After(5 * time.Minute):
			r.t.Fatalf("%s: %s doesn't end: %s", d.page, d.line, p.stderr)
		}
		if code := p.wait(); code != exitOK {
			r.t.Errorf("%s: %s: exit code %d\n%s%s", d.page, d.line, code, p.stdout, p.stderr)
		}
		return
	}
	r.wait(d.line, p, d.works)
	r.ended(d.line, p)
}

// wait waits until a command does what it is for.
func (r *reader) wait(line string, p *program, works func(*reader, *program) error) {
	r.t.Helper()
	eventually(r.t, line+" to work", func() error {
		if !p.running() {
			r.t.Fatalf("%s has ended: %s%s", line, p.stdout, p.stderr)
		}
		return works(r, p)
	})
}

// ended ends a command as Ctrl-C and systemd do.
func (r *reader) ended(line string, p *program) {
	r.t.Helper()
	if code := p.stop(); code != exitOK {
		r.t.Errorf("%s ends with exit code %d: %s", line, code, p.stderr)
	}
}

// ready: the agent says that all of its sources are live.
func ready(r *reader, p *program) error { return answers("http://127.0.0.1:9789/-/ready")(r, p) }

// prints: there is an event on standard output.
func prints(_ *reader, p *program) error {
	if !strings.Contains(p.stdout.String(), "\n") {
		return fmt.Errorf("it prints nothing: %s", p.stderr)
	}
	return nil
}

// logs: the log has this text.
func logs(text string) func(*reader, *program) error {
	return func(_ *reader, p *program) error { return contains(p.stderr.String(), text) }
}

// answers: the address answers.
func answers(url string) func(*reader, *program) error {
	return func(*reader, *program) error {
		client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		}}
		response, err := client.Get(url)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s: %s", url, response.Status, body)
		}
		return err
	}
}
