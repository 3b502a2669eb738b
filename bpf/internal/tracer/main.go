// Command tracer attaches to one executable and counts records, for tests that
// need a tracer in a process of its own: to kill it, or to run it with other
// privileges.
//
//	tracer [-perf] PATH
//
// It prints "attached KIND" or "error TYPE: TEXT". Then it reads numbers from
// standard input, one a line, waits for that many records since the start, and
// prints how many there are.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"

	"github.com/peerobserver/peerobserver/bpf"
	"github.com/peerobserver/peerobserver/bpf/internal/check"
)

func main() {
	perf := flag.Bool("perf", false, "use perf event links")
	flag.Parse()
	if err := run(flag.Arg(0), *perf); err != nil {
		kind := "other"
		var ce *bpf.CapabilityError
		var ue *bpf.UnsupportedError
		switch {
		case errors.As(err, &ce):
			kind = fmt.Sprintf("capability %v", ce.Missing)
		case errors.As(err, &ue):
			kind = "unsupported"
		}
		fmt.Printf("error %s: %v\n", kind, err)
		os.Exit(1)
	}
}

func run(path string, perf bool) error {
	exe, err := bpf.Open(path)
	if err != nil {
		return err
	}
	defer exe.Close()
	cfg := bpf.Config{RingSize: 1 << 20}
	if perf {
		cfg.Link = bpf.PerfEvent
	}
	prog, err := bpf.Load(cfg)
	if err != nil {
		return err
	}
	defer prog.Close()
	if _, err := prog.Attach(exe, bpf.Options{}); err != nil {
		return err
	}
	fmt.Println("attached", prog.Features().Link)
	var rec bpf.Record
	got := 0
	for in := bufio.NewScanner(os.Stdin); in.Scan(); fmt.Println(got) {
		want, err := strconv.Atoi(in.Text())
		if err != nil {
			return err
		}
		for got < want {
			if err := check.Next(prog.Reader(), &rec); err != nil {
				return err
			}
			got++
		}
	}
	return nil
}
