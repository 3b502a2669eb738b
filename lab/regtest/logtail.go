package regtest

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// maxTailBytes is how much of a log's end lastLines looks at.
const maxTailBytes = 256 << 10

// lastLines returns the last n lines of a file, or why there are none.
func lastLines(path string, n int) string {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Sprintf("(%v)\n", err)
	}
	defer file.Close()
	if size, err := file.Seek(0, io.SeekEnd); err == nil {
		if _, err := file.Seek(max(0, size-maxTailBytes), io.SeekStart); err != nil {
			return fmt.Sprintf("(%v)\n", err)
		}
	}
	data, err := io.ReadAll(io.LimitReader(file, maxTailBytes))
	if err != nil {
		return fmt.Sprintf("(%v)\n", err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "") + "\n"
}
