package bpf

// The object files and their Go side are committed, so that building needs
// neither clang nor this. It needs nothing but clang-14 and llvm-strip-14.
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -no-global-types -type settings -type site -type arg -type header -type counters -type rule_key -type rule object c/tracer.c -- -O2 -mcpu=v3 -Wall -Werror
