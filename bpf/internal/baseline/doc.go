// Package baseline holds the eBPF programs that the benchmarks of package bpf
// compare with.
package baseline

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -no-global-types Object c/baseline.c -- -O2 -mcpu=v3 -Wall -Werror
