package kerneltest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/peerobserver/peerobserver/bpf/emitter"
)

// buildInitramfs makes an archive with the guest program as init and the
// emitter, both statically linked.
func buildInitramfs(ctx context.Context, dir string) (string, error) {
	guest := filepath.Join(dir, "init")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", guest, "./guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the guest program: %w: %s", err, out)
	}
	emit, err := emitter.Build(ctx, dir, emitter.Static)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	cpioEntry(&b, "dev", 0o040755, nil)
	// Before devtmpfs is mounted, output needs a console.
	cpioDevice(&b, "dev/console", 0o020600, 5, 1)
	for name, path := range map[string]string{"init": guest, "emitter": emit} {
		content, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		cpioEntry(&b, name, 0o100755, content)
	}
	cpioEntry(&b, "TRAILER!!!", 0, nil)
	image := filepath.Join(dir, "initramfs")
	return image, os.WriteFile(image, b.Bytes(), 0o644)
}

// cpioEntry appends a file in the format newc, the one the kernel unpacks.
func cpioEntry(b *bytes.Buffer, name string, mode uint32, content []byte) {
	cpioHeader(b, name, mode, len(content), 0, 0)
	b.Write(content)
	pad4(b)
}

func cpioDevice(b *bytes.Buffer, name string, mode, major, minor uint32) {
	cpioHeader(b, name, mode, 0, major, minor)
}

func cpioHeader(b *bytes.Buffer, name string, mode uint32, size int, major, minor uint32) {
	b.WriteString("070701")
	// inode, mode, uid, gid, links, mtime, size, device, special device, name
	// with its NUL, checksum.
	for _, v := range []uint32{uint32(b.Len()), mode, 0, 0, 1, 0, uint32(size), 0, 0, major, minor, uint32(len(name) + 1), 0} {
		fmt.Fprintf(b, "%08X", v)
	}
	b.WriteString(name)
	b.WriteByte(0)
	pad4(b)
}

func pad4(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}
